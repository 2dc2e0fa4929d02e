"""What the driver holds of a prompt between its two generations: scored initial responses and planned branches."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from verl_softthink.batch import Row
from verl_softthink.config.settings import LawSettings
from verl_softthink.likelihood.fields import SOFT
from verl_softthink.methods.attnrl.fields import (
    ABORTED,
    NUMBER,
    PREFIX_IDS,
    PREFIX_LOG_PROBS,
    PREFIX_TRACE,
    PROMPT_IDS,
    SESSION,
)
from verl_softthink.methods.attnrl.plan import Branch, Sampled, ScoredResponse, grow
from verl_softthink.methods.attnrl.tree import InitialResponse
from verl_softthink.rollout.fields import FORCED, TRACE_ROW_FIELDS, from_row
from verl_softthink.rollout.prefix import encode_prefix

#: The fields of a training row: all that verl's later passes, metrics and dumps read of a sample.
ROW_FIELDS = (
    *("prompts", "responses", "response_mask", "loss_mask", "input_ids", "position_ids"),
    *("rm_scores", "rollout_log_probs", "uid", "reward_model", "data_source", "extra_fields", "num_turns"),
    *TRACE_ROW_FIELDS,
)


@dataclass(frozen=True)
class Sample:
    """One row of the queue.

    Attributes:
        row: its fields, as ``batch.read`` gives them.
        tag: verl's tag of it.
    """

    row: Row
    tag: dict

    @property
    def reward(self) -> float:
        """Sum of the row's ``rm_scores``.

        Raises:
            ValueError: it is neither 0 nor 1.
        """
        reward = float(self.row["rm_scores"].sum())
        if reward not in (0.0, 1.0):
            raise ValueError(
                f"a response has reward {reward:g}, and the values of a tree are shares of right responses: give a "
                "reward.custom_reward_function that returns 0 or 1, or remove attnrl from +softthink"
            )
        return reward

    @property
    def sampled(self) -> int:
        """Response tokens of the rollout, without those that a chat template appends."""
        return sampled_tokens(self.row)


@dataclass(frozen=True)
class PromptSamples:
    """One prompt, after its initial responses have been scored.

    Attributes:
        uid: verl's name of the prompt.
        index: of its row in the batch of prompts that was submitted.
        samples: its initial responses.
        scored: what the plan needs of each.
        log_probs: [T] float32 of each, under the policy that scored it.
        branches: the plan.
        continuations: the result of each branch, once it has come back.
    """

    uid: str
    index: int
    samples: Sequence[Sample]
    scored: Sequence[ScoredResponse]
    log_probs: Sequence[Float[Tensor, " _"]]
    branches: Sequence[Branch]
    continuations: list[Sample] = field(default_factory=list)

    @property
    def branch_uids(self) -> list[str]:
        """A uid for every branch, without the underscore at which verl splits row keys."""
        return [f"{self.uid}-branch{number}" for number in range(len(self.branches))]

    def request(self, number: int, law: LawSettings | None) -> dict:
        """What the agent loop needs to continue branch ``number`` of the plan.

        Args:
            number: index in ``branches``.
            law: of the run; None if responses are ordinary tokens.
        """
        branch = self.branches[number]
        row = self.samples[branch.response].row
        known = row.get("rollout_log_probs")
        return {
            SESSION: self.uid,
            NUMBER: number,
            PREFIX_TRACE: encode_prefix(from_row(row).truncated(branch.cut), law) if SOFT in row else None,
            PROMPT_IDS: row["prompts"].tolist(),
            PREFIX_IDS: row["responses"][: branch.cut].tolist(),
            PREFIX_LOG_PROBS: None if known is None else known[: branch.cut].tolist(),
        }

    def results(self) -> list[Sampled | None]:
        """Result of every branch; None for aborted ones."""
        return [
            None if sample.row["extra_fields"].get(ABORTED) else Sampled(sample.sampled - branch.cut, sample.reward)
            for branch, sample in zip(self.branches, self.continuations, strict=True)
        ]

    def aborted(self) -> list[str]:
        """The reason of every aborted continuation."""
        reasons = [sample.row["extra_fields"].get(ABORTED) for sample in self.continuations]
        return [reason for reason in reasons if reason]

    def tree(self) -> list[InitialResponse]:
        """The initial responses with their continuations."""
        return grow(self.scored, self.branches, self.results())

    def of_response(self, index: int) -> list[Sample]:
        """The continuations of an initial response that were not aborted, in the order of the tree's."""
        return [
            sample
            for branch, sample in zip(self.branches, self.continuations, strict=True)
            if branch.response == index and not sample.row["extra_fields"].get(ABORTED)
        ]


def sampled_tokens(row: Row) -> int:
    """Number of response tokens of the rollout: sampled ones, and forced ones, which are masked from the loss."""
    sampled = row["response_mask"].bool()
    return int((sampled | row[FORCED] if FORCED in row else sampled).sum())
