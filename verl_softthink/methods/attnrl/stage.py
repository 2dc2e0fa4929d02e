"""Tree branching in a training step, before verl's old-log-prob pass.

    score       old log-probs of the initial responses, and in the same pass the influence of their steps
    plan        which responses are cut where (``plan.py``)
    continue    a second generation: prompt and prefix are given, the rest is resampled (``agent_loop.py``)
    train       one row per leaf in place of the initial responses, with the advantages of the tree's nodes

The rest of the step sees the training rows as an ordinary batch. ``schedule.py`` says when each of these happens; with
``off_policy=1`` the two generations are one.
"""

import torch
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta

from verl_softthink.batch import clear, of_rows, put_rows, read, rows_of, write
from verl_softthink.likelihood.shared_prefix import SHARED_PREFIX
from verl_softthink.methods.attnrl.batching import Batching
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE
from verl_softthink.methods.attnrl.metrics import LOG_PROB_LAG, tree_metrics
from verl_softthink.methods.attnrl.rollout import Rollout
from verl_softthink.methods.attnrl.samples import PromptSamples
from verl_softthink.methods.attnrl.schedule import OneStepOffPolicy, Schedule, StepByStep
from verl_softthink.methods.attnrl.scoring import Scoring
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.methods.attnrl.training_rows import TrainingRow, rows_without_signal, stitched, training_rows
from verl_softthink.methods.attnrl.tree import has_signal
from verl_softthink.methods.stage import Stage, Trainer


class AttnrlStage(Stage):
    """Trees of responses in place of groups."""

    dumped = (NODE, VALUE, ADVANTAGE, ROOT)

    def __init__(self, trainer: Trainer, settings: AttnrlSettings):
        super().__init__(trainer, settings)
        self.batching = Batching(trainer.config, settings)
        self.scoring = Scoring(trainer, settings)
        schedule = OneStepOffPolicy if settings.off_policy else StepByStep
        self.schedule: Schedule = schedule(trainer, Rollout(trainer), self._scored)
        #: By row key of this step: ``TrainingRow.earlier``.
        self._earlier: dict[str, Tensor] = {}

    @property
    def pass_settings(self) -> dict:
        return {SHARED_PREFIX: self.settings.shared_prefix}

    def rows_multiple(self, ranks: int) -> int:
        return self.batching.rows_multiple(ranks)

    def mini_batch_rows(self, rows: int) -> int:
        return rows // self.batching.updates

    def state_dict(self) -> dict:
        return {
            "prompts_of_next_batch": self.batching.prompts,
            "attention_filter": self.scoring.filter_state(before_last_plan=self.schedule.untrained is not None),
            "untrained_prompts": None if self.schedule.untrained is None else rows_of(self.schedule.untrained),
        }

    def load_state_dict(self, state: dict) -> None:
        self.batching.prompts = state["prompts_of_next_batch"]
        self.scoring.load(state["attention_filter"])
        untrained = state["untrained_prompts"]
        self.schedule.untrained = None if untrained is None else of_rows(untrained)

    def submit(self) -> int:
        return self.schedule.submit(self.batching.prompts)

    def before_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        return self._training_batch(batch, self.schedule.finish(batch, metrics), metrics)

    def _scored(self, batch: KVBatchMeta, prompts: TensorDict, metrics: dict) -> list[PromptSamples]:
        """Score and plan; the rows are cleared from the queue, as the driver now holds what is needed of them."""
        found = self.scoring.score(batch, list(prompts["uid"]), metrics)
        clear(batch.keys, batch.partition_id)
        return found

    def _training_batch(self, rolled_out: KVBatchMeta, prompts: list[PromptSamples], metrics: dict) -> KVBatchMeta:
        """The batch that the rest of the step trains on."""
        trees = [prompt.tree() for prompt in prompts]
        by_prompt: list[list[TrainingRow]] = [
            training_rows(prompt, tree) if has_signal(tree) or not self.settings.zero_advantage_filter else []
            for prompt, tree in zip(prompts, trees, strict=True)
        ]
        counts = [len(rows) for rows in by_prompt]
        metrics.update(tree_metrics(prompts, trees, counts))
        self.batching.trained(sum(counts))
        # verl's passes need at least one row, so without a signal the first prompt's go in, with zero advantages.
        rows = [row for of_prompt in by_prompt for row in of_prompt] or rows_without_signal(prompts[0])
        self._earlier = {row.key: row.earlier for row in rows}
        batch = KVBatchMeta(
            partition_id=rolled_out.partition_id,
            keys=[row.key for row in rows],
            tags=[row.tag for row in rows],
            extra_info=dict(rolled_out.extra_info),
        )
        batch = self.trainer._balance_batch(write(batch, [row.fields for row in rows]), metrics)
        if self.settings.shared_prefix == "dedup":
            # Rows that share a prefix stay together, on one rank.
            place = {row.key: number for number, row in enumerate(rows)}
            batch.reorder(sorted(range(len(batch)), key=lambda at: place.get(batch.keys[at], len(place))))
        return batch

    def after_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        keys = list(self._earlier)
        found = read(keys, batch.partition_id, ("old_log_probs",))
        whole = [stitched(row["old_log_probs"], self._earlier[key]) for key, row in zip(keys, found, strict=True)]
        moved = torch.cat([(old - row["old_log_probs"]).abs() for old, row in zip(whole, found, strict=True)])
        stale = sum(len(earlier) for earlier in self._earlier.values())
        metrics[LOG_PROB_LAG] = float(moved.sum() / stale)
        put_rows(keys, batch.partition_id, {"old_log_probs": whole})
        return batch

    def after_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        keys = list(self._earlier)
        rows = [row[ADVANTAGE] for row in read(keys, batch.partition_id, (ADVANTAGE,))]
        put_rows(keys, batch.partition_id, {"advantages": rows, "returns": rows})
        return batch
