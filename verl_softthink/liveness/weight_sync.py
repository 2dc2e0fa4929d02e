"""A bound on the whole weight sync, for the one case that the transfer cannot report: a trainer worker that hangs."""

import ray
from ray.exceptions import GetTimeoutError
from verl.checkpoint_engine.base import CheckpointEngineManager
from verl.utils.ray_utils import auto_await

from verl_softthink.liveness import limits

_COLOCATED = "naive"


class WeightSyncTimeout(RuntimeError):
    """Trainer workers did not finish a weight sync in time."""


class BoundedCheckpointEngineManager(CheckpointEngineManager):
    """verl's manager; the colocated sync, its only unbounded wait on a trainer worker, ends after the bound."""

    @classmethod
    def of(cls, manager: CheckpointEngineManager) -> "BoundedCheckpointEngineManager":
        """In place of ``manager``, for the same workers and replicas."""
        return cls(manager.config, manager.actor_wg, manager.replicas)

    @auto_await
    async def update_weights(self, global_steps: int | None = None) -> dict:
        """Send the actor's weights to every rollout replica.

        Raises:
            WeightSyncTimeout: not done within VERL_SOFTTHINK_SYNC_TIMEOUT_S.
        """
        if self.backend != _COLOCATED:
            return await super().update_weights(global_steps)
        pending = self.actor_wg.update_weights(global_steps=global_steps, mode=self.backend)
        limit = limits.sync_timeout_s()
        try:
            ray.get(pending, timeout=limit)
        except GetTimeoutError as error:
            raise WeightSyncTimeout(
                f"weight sync at step {global_steps} was not done after {limit:g} s ({limits.SYNC}): a trainer worker "
                "is hung, or the model needs a larger bound."
            ) from error
        return {}
