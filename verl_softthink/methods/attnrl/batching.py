"""How many prompts a step samples, and how its rows are divided into updates and micro-batches.

Filters leave a varying share of the rollouts to train on. So that a step trains about as many responses as wanted, the
number of prompts follows (arXiv 2509.26628)

    B_m = ceil(0.1 target + 0.9 B_{m-1}),      target = floor(B_{m-1} wanted / trained)
"""

import math
from fractions import Fraction

from omegaconf import DictConfig, OmegaConf

from verl_softthink.methods.attnrl.settings import AttnrlSettings

#: Weight of the target; the rest is the last size's, so that one odd batch changes little.
TARGET_WEIGHT = Fraction(1, 10)
#: Passes over the rows: the key that fills micro-batches by length, and the key of their rows where it is off.
_PASSES = (
    ("actor.use_dynamic_bsz", "actor.ppo_micro_batch_size_per_gpu"),
    ("rollout.log_prob_use_dynamic_bsz", "rollout.log_prob_micro_batch_size_per_gpu"),
    ("ref.log_prob_use_dynamic_bsz", "ref.log_prob_micro_batch_size_per_gpu"),
)


def next_batch_size(last: int, *, wanted: int, trained: int) -> int:
    """B_m, in prompts.

    Args:
        last: B_{m-1}, at least 1.
        wanted: responses a step should train on, at least 1.
        trained: responses the last step trained on; after a step without any the size stays.

    Raises:
        ValueError: a number is out of range.
    """
    if last < 1 or wanted < 1 or trained < 0:
        raise ValueError(
            f"last={last}, wanted={wanted}, trained={trained}: sizes are at least 1, and trained at least 0"
        )
    if trained == 0:
        return last
    target = last * wanted // trained
    # Exact: in floating point 0.1 * 64 + 0.9 * 64 exceeds 64 and would be rounded up to 65.
    return max(1, math.ceil(TARGET_WEIGHT * target + (1 - TARGET_WEIGHT) * last))


class Batching:
    """The batch sizes of one run.

    Attributes:
        prompts: prompts of the next step.
        updates: actor updates per step.
    """

    def __init__(self, config: DictConfig, settings: AttnrlSettings):
        self._config, self._settings = config, settings
        self.prompts: int = config.data.train_batch_size
        self.updates = self.prompts // config.actor_rollout_ref.actor.ppo_mini_batch_size
        self._wanted = settings.wanted_responses or self.prompts * config.actor_rollout_ref.rollout.n

    def trained(self, responses: int) -> None:
        """Set the size of the next step after one that trained on that many responses."""
        if self._settings.adaptive_batch:
            size = next_batch_size(self.prompts, wanted=self._wanted, trained=responses)
            self.prompts = min(size, self._settings.largest_batch or size)

    def rows_multiple(self, ranks: int) -> int:
        """What the number of rows must be a multiple of, to divide into updates, ranks and whole micro-batches."""
        ours = self._config.actor_rollout_ref
        rows = [OmegaConf.select(ours, size) or 1 for dynamic, size in _PASSES if not OmegaConf.select(ours, dynamic)]
        return self.updates * ranks * math.lcm(1, *rows)
