"""How many rows an update of the actor has, where a method's rows are not ``rollout.n`` to a prompt."""

from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig


@contextmanager
def mini_batches_of(config: DictConfig, rows: int) -> Iterator[None]:
    """Within the block verl's trainer reads a mini-batch of ``rows`` rows.

    It multiplies ``actor.ppo_mini_batch_size``, in prompts, with ``rollout.n``; both are put back afterwards.
    """
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    before = actor.ppo_mini_batch_size, rollout.n
    actor.ppo_mini_batch_size, rollout.n = rows, 1
    try:
        yield
    finally:
        actor.ppo_mini_batch_size, rollout.n = before
