"""How many prompts a step samples, and how its rows are divided into updates and micro-batches."""

import math

from omegaconf import DictConfig, OmegaConf

from verl_softthink.methods.attnrl.batch_size import next_batch_size
from verl_softthink.methods.attnrl.settings import AttnrlSettings

#: Passes over the trained rows: whether their micro-batches are filled by length, and else how many rows they have.
_PASSES = (
    ("actor.use_dynamic_bsz", "actor.ppo_micro_batch_size_per_gpu"),
    ("rollout.log_prob_use_dynamic_bsz", "rollout.log_prob_micro_batch_size_per_gpu"),
    ("ref.log_prob_use_dynamic_bsz", "ref.log_prob_micro_batch_size_per_gpu"),
)


class Batching:
    """Sizes of one run.

    Attributes:
        prompts: of the next step.
        updates: of the actor in a step.
    """

    def __init__(self, config: DictConfig, settings: AttnrlSettings):
        self._config, self._settings = config, settings
        self.prompts: int = config.data.train_batch_size
        self.updates = self.prompts // config.actor_rollout_ref.actor.ppo_mini_batch_size
        self._wanted = settings.wanted_responses or self.prompts * config.actor_rollout_ref.rollout.n

    def trained(self, responses: int) -> None:
        """A step has trained that many responses: set the size of the next one."""
        if self._settings.adaptive_batch:
            size = next_batch_size(self.prompts, wanted=self._wanted, trained=responses)
            self.prompts = min(size, self._settings.largest_batch or size)

    def rows_multiple(self, ranks: int) -> int:
        """Rows of a batch divide evenly into updates, ranks and the micro-batches of every pass."""
        ours = self._config.actor_rollout_ref
        rows = [OmegaConf.select(ours, size) or 1 for dynamic, size in _PASSES if not OmegaConf.select(ours, dynamic)]
        return self.updates * ranks * math.lcm(1, *rows)
