"""When prompts and continuations are rolled out: within one step, or one step off policy.

    step by step     step t:  generate the responses of batch t;  score, plan;  generate their continuations;  train t
    off policy       step t:  generate the continuations of batch t and the responses of batch t + 1, in one call;
                              score and plan t + 1;  train t

Off policy, initial responses are scored by the policy that generated them and continued by the policy after the next
update. Rows keep the log-probs of both (``training_rows.stitched``), and the importance ratio of the loss corrects for
the update between them.
"""

from collections.abc import Callable
from typing import Protocol

from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.utils.debug import marked_timer

from verl_softthink.methods.attnrl.rollout import Rollout
from verl_softthink.methods.attnrl.samples import PromptSamples
from verl_softthink.methods.stage import Trainer

#: Scores the rows of some prompts and plans their branches: (batch, the prompts' rows of the data, metrics).
Score = Callable[[KVBatchMeta, TensorDict, dict], list[PromptSamples]]


class Schedule(Protocol):
    """What a step calls, in this order."""

    #: Prompts taken from the data and not yet trained on, for a checkpoint.
    untrained: TensorDict | None

    def submit(self, prompts: int) -> int:
        """Send the requests of a step, for the next ``prompts`` prompts; returns how many groups to wait for."""

    def finish(self, batch: KVBatchMeta, metrics: dict) -> list[PromptSamples]:
        """The prompts that the step trains on, with their continuations, from the rows that came back."""


class StepByStep:
    """Two generations per step.

    Attributes:
        untrained: set only when a run that was one step off policy is resumed; these prompts come first.
    """

    def __init__(self, trainer: Trainer, rollout: Rollout, score: Score):
        self._trainer, self._rollout, self._score = trainer, rollout, score
        self.untrained: TensorDict | None = None
        self._prompts: TensorDict | None = None

    def submit(self, prompts: int) -> int:
        self._prompts = self.untrained if self.untrained is not None else self._rollout.next_prompts(prompts)
        self.untrained = None
        return self._rollout.send(self._prompts)

    def finish(self, batch: KVBatchMeta, metrics: dict) -> list[PromptSamples]:
        planned = self._score(batch, self._prompts, metrics)
        with marked_timer("branches", self._trainer.timing_raw):
            self._rollout.continue_now(self._prompts, planned)
        return planned


class OneStepOffPolicy:
    """One generation per step, and one more before the first step of a new or resumed run.

    Attributes:
        untrained: a resumed run begins with these prompts, from the checkpoint.
    """

    def __init__(self, trainer: Trainer, rollout: Rollout, score: Score):
        self._trainer, self._rollout, self._score = trainer, rollout, score
        self.untrained: TensorDict | None = None
        #: Prompts scored in the previous step, with their rows of the data.
        self._planned: tuple[list[PromptSamples], TensorDict] | None = None

    def submit(self, prompts: int) -> int:
        if self._planned is None:
            first = self.untrained if self.untrained is not None else self._rollout.next_prompts(prompts)
            batch = self._rollout.collect(self._rollout.send(first))
            with self._rollout.asleep():
                self._planned = self._score(self._trainer._balance_batch(batch, metrics={}), first, {}), first
        planned, data = self._planned
        sent = self._rollout.send_branches(data, planned)
        if sent and self._trainer.global_steps >= self._trainer.total_training_steps:
            # No step is left to train on more prompts.
            self.untrained = None
            return sent
        self.untrained = self._rollout.next_prompts(prompts)
        return sent + self._rollout.send(self.untrained)

    def finish(self, batch: KVBatchMeta, metrics: dict) -> list[PromptSamples]:
        prompts, _ = self._planned
        self._rollout.take(prompts, batch)
        initial = self._rollout.without_padding(batch, {f"{uid}_0_0" for p in prompts for uid in p.branch_uids})
        self._planned = [], None
        if self.untrained is not None:
            balanced = self._trainer._balance_batch(initial, metrics)
            self._planned = self._score(balanced, self.untrained, metrics), self.untrained
        return prompts
