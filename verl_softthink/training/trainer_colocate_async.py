"""Trainer mode ``softthink_colocate_async``: verl's asynchronous trainer on shared devices, with soft traces.

Responses that are under way when a step begins to train are aborted, and go on under the new weights from what they
have thought (``rollout.async_client``).
"""

from types import ModuleType

from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.workers.rollout.llm_server import LLMServerClient

from verl_softthink.rollout.async_client import SoftLLMServerClient
from verl_softthink.training.modes import COLOCATE_ASYNC
from verl_softthink.training.trainer import SoftThinkTrainer


class SoftThinkColocateAsync(SoftThinkTrainer, PPOTrainerColocateAsync):
    """A step trains on whichever prompts are finished."""

    def get_llm_client(self) -> LLMServerClient:
        if self.softthink.law is None:
            return super().get_llm_client()
        return self.llm_server_manager.get_client(client_cls=SoftLLMServerClient)


def register(trainer_colocate_async: ModuleType) -> None:
    """``verl.trainer.ppo.v1.trainer_colocate_async``: add the mode."""
    trainer_colocate_async.register_trainer(COLOCATE_ASYNC)(SoftThinkColocateAsync)
