"""Trainer mode ``softthink_sync``: verl's synchronous trainer with soft traces."""

from types import ModuleType

from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from verl_softthink.training.modes import SYNC
from verl_softthink.training.trainer import SoftThinkTrainer


class SoftThinkSync(SoftThinkTrainer, PPOTrainerSync):
    """Every step waits for its own rollouts."""


def register(trainer_sync: ModuleType) -> None:
    """``verl.trainer.ppo.v1.trainer_sync``: add the mode."""
    trainer_sync.register_trainer(SYNC)(SoftThinkSync)
