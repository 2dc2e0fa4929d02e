"""The trainer modes ``softthink_sync`` and ``softthink_colocate_async``: ``trainer`` in front of verl's own."""

from types import ModuleType

from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.workers.rollout.llm_server import LLMServerClient

from verl_softthink.rollout.async_client import SoftLLMServerClient
from verl_softthink.training.modes import COLOCATE_ASYNC, SYNC
from verl_softthink.training.trainer import SoftThinkTrainer


class SoftThinkSync(SoftThinkTrainer, PPOTrainerSync):
    """Every step waits for its own rollouts."""


class SoftThinkColocateAsync(SoftThinkTrainer, PPOTrainerColocateAsync):
    """A step trains on whichever prompts are finished.

    Responses that are under way then are aborted, and go on under the next weights from what they have thought.
    """

    def get_llm_client(self) -> LLMServerClient:
        if self.softthink.law is None:
            return super().get_llm_client()
        return self.llm_server_manager.get_client(client_cls=SoftLLMServerClient)


def register(trainer_sync: ModuleType) -> None:
    """``verl.trainer.ppo.v1.trainer_sync``, the last of verl's trainers to be imported: add our modes."""
    trainer_sync.register_trainer(SYNC)(SoftThinkSync)
    trainer_sync.register_trainer(COLOCATE_ASYNC)(SoftThinkColocateAsync)
