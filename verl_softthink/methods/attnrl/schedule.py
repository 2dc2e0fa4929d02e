"""When prompts and continuations are rolled out: within one step, or one step off policy.

    step by step     step t:  generate the responses of batch t;  score, plan;  generate their continuations;  train t
    off policy       step t:  generate the continuations of batch t and the responses of batch t + 1, in one call;
                              score and plan t + 1;  train t

Off policy, initial responses are scored by the policy that wrote them and continued by the one after its update; rows
keep the log-probs of both (``samples.stitched``), and the ratio of the loss corrects for the step between them.
"""

from collections.abc import Callable
from typing import Protocol

from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.utils.debug import marked_timer

from verl_softthink.methods.attnrl.rollout import Rollout
from verl_softthink.methods.attnrl.samples import PromptSamples

#: Scores the rows of some prompts, given with their rows of the data, and plans their branches.
Score = Callable[[KVBatchMeta, TensorDict, dict], list[PromptSamples]]


class Schedule(Protocol):
    """What a step asks of a schedule, in this order."""

    #: Prompts taken from the data and not yet trained, for a checkpoint.
    untrained: TensorDict | None

    def submit(self, prompts: int) -> int:
        """Send the requests of a step, with the next ``prompts`` prompts; prompts and branches to wait for."""

    def finish(self, batch: KVBatchMeta, metrics: dict) -> list[PromptSamples]:
        """The prompts that the step trains, with their continuations, from what came back."""


class StepByStep:
    """Two generations a step.

    Attributes:
        untrained: only after the resume of a run that was one step off policy; these prompts come first.
    """

    def __init__(self, trainer, rollout: Rollout, score: Score):
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
    """One generation a step; before the first one of a run, or of its continuation, one more.

    Attributes:
        untrained: after a resume, set to what the checkpoint held: the run begins with these prompts.
    """

    def __init__(self, trainer, rollout: Rollout, score: Score):
        self._trainer, self._rollout, self._score = trainer, rollout, score
        self.untrained: TensorDict | None = None
        #: Scored in the step before, with the rows of the data that they came from.
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
            # Nobody will train what comes after the last step.
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
