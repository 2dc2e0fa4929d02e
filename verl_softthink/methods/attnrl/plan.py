"""From a prompt's scored initial responses to its branches, and from their results to the tree.

The two halves of an iteration, between which the continuations are sampled: ``plan_branches`` decides whether a prompt
is branched, which of its responses and where; ``grow`` attaches what came back. Harder prompts have more of their
responses branched: with n responses, k = ceil(n exp(-accuracy)) of them (arXiv 2509.26628).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl_softthink.methods.attnrl.points import branch_points, entropy_branch_points
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.methods.attnrl.steps import Steps
from verl_softthink.methods.attnrl.tree import Continuation, InitialResponse


@dataclass(frozen=True)
class ScoredResponse:
    """What the plan needs of an initial response of T tokens and S steps.

    Attributes:
        steps: of the response.
        influence: [S] of its steps, zero where no branch may start.
        correct: whether its reward is 1.
        entropy: [T] nats of the distribution that each token was drawn from; needed to branch by entropy.
        eligible: [T] bool, tokens at which a branch may start; needed to branch by entropy, else None for all.
    """

    steps: Steps
    influence: Float[Tensor, " S"]
    correct: bool
    entropy: Float[Tensor, " T"] | None = None
    eligible: Bool[Tensor, " T"] | None = None


@dataclass(frozen=True)
class Branch:
    """One continuation to sample: the prompt and the first ``cut`` tokens of initial response ``response``."""

    response: int
    cut: int


@dataclass(frozen=True)
class Sampled:
    """What came back for a branch: its number of new tokens, and the reward of prefix and continuation together."""

    length: int
    value: float


@dataclass
class AttentionFilter:
    """Keeps an all-correct prompt only if its mean influence is above the running mean over all-correct prompts.

    Such a prompt teaches nothing unless a continuation fails, which is likelier where later steps attend more to
    earlier ones. The mean runs over every all-correct prompt so far, kept or not; the first one has nothing to exceed
    and is dropped.

    Attributes:
        count: all-correct prompts so far.
        mean: of their mean influences.
    """

    count: int = 0
    mean: float = 0.0

    def keep(self, correct: list[bool], mean_influence: float) -> bool:
        """Whether to branch a prompt; updates the running mean if all its responses are right.

        Args:
            correct: of every initial response, at least one.
            mean_influence: over the steps of all its initial responses.

        Raises:
            ValueError: there are no responses.
        """
        if not correct:
            raise ValueError("correct is empty: judge a prompt after its initial responses have been scored")
        if not all(correct):
            return True
        above = self.count > 0 and mean_influence > self.mean
        self.count += 1
        self.mean += (mean_influence - self.mean) / self.count
        return above

    def state_dict(self) -> dict[str, int | float]:
        """For a checkpoint."""
        return {"count": self.count, "mean": self.mean}

    @classmethod
    def from_state(cls, state: dict[str, int | float]) -> "AttentionFilter":
        """Continue from a ``state_dict``."""
        return cls(int(state["count"]), float(state["mean"]))


def branched_count(accuracy: float, samples: int) -> int:
    """k of n = ``samples`` responses are branched: all at accuracy 0, 3 of 6 at accuracy 1.

    Raises:
        ValueError: the accuracy is not in [0, 1].
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy={accuracy} is not a share of right responses; give a number from 0 to 1")
    return math.ceil(samples * math.exp(-accuracy))


def responses_to_branch(correct: list[bool], generator: torch.Generator) -> list[int]:
    """Which of a prompt's initial responses are branched.

    The rarer kind goes first, so that values differ within the prompt: the right responses below an accuracy of one
    half, the wrong ones from one half on. The remaining places are filled at random from the other kind.

    Args:
        correct: of every initial response.
        generator: of the random choice within each kind.

    Returns:
        k indices, ascending (``branched_count``).
    """
    if not correct:
        return []
    accuracy = sum(correct) / len(correct)
    rarer = accuracy < 0.5
    first = [index for index, right in enumerate(correct) if right == rarer]
    rest = [index for index, right in enumerate(correct) if right != rarer]
    order = _shuffled(first, generator) + _shuffled(rest, generator)
    return sorted(order[: branched_count(accuracy, len(correct))])


def plan_branches(
    responses: Sequence[ScoredResponse],
    settings: AttnrlSettings,
    attention_filter: AttentionFilter | None,
    generator: torch.Generator,
) -> list[Branch]:
    """The branches of one prompt, ordered by response and cut; none if the prompt is filtered out.

    Args:
        responses: all initial responses of the prompt, at least one.
        settings: branching and expansion.
        attention_filter: updated if all responses are right; None keeps every prompt.
        generator: of the difficulty-aware expansion.
    """
    correct = [response.correct for response in responses]
    if attention_filter is not None and not attention_filter.keep(correct, mean_influence(responses)):
        return []
    every = list(range(len(responses)))
    branched = every if settings.expansion == "all" else responses_to_branch(correct, generator)
    return [
        Branch(index, cut)
        for index in branched
        for cut in _cuts(responses[index], settings)
        for _ in range(settings.continuations)
    ]


def mean_influence(responses: Sequence[ScoredResponse]) -> float:
    """Mean influence over the steps of all responses; 0 if there are none."""
    values = torch.cat([response.influence for response in responses])
    return float(values.mean()) if len(values) else 0.0


def grow(
    responses: Sequence[ScoredResponse], branches: Sequence[Branch], sampled: Sequence[Sampled | None]
) -> list[InitialResponse]:
    """The prompt's responses with their continuations, which is its tree.

    Args:
        responses: those that were planned with.
        branches: the plan.
        sampled: result of each branch; None for an aborted one, which is left out.

    Raises:
        ValueError: branches and results do not correspond.
    """
    if len(branches) != len(sampled):
        raise ValueError(f"{len(sampled)} results for {len(branches)} branches; give one, or None, for each")
    attached: list[list[Continuation]] = [[] for _ in responses]
    for branch, result in zip(branches, sampled, strict=True):
        if result is not None:
            attached[branch.response].append(Continuation(branch.cut, result.length, result.value))
    return [
        InitialResponse(sum(response.steps.lengths), float(response.correct), tuple(continuations))
        for response, continuations in zip(responses, attached, strict=True)
    ]


def _cuts(response: ScoredResponse, settings: AttnrlSettings) -> list[int]:
    if settings.branching == "entropy":
        return entropy_branch_points(response.entropy, response.eligible, count=settings.points)
    return branch_points(
        response.influence,
        response.steps,
        count=settings.points,
        quantile=settings.quantile,
        spacing=settings.spacing,
        eligible=response.eligible,
    )


def _shuffled(items: list[int], generator: torch.Generator) -> list[int]:
    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]
