"""From a prompt's scored initial responses to its branches, and from their results to the tree.

The two halves of an iteration, between which the continuations are generated: ``plan_branches`` says which responses
are cut where; ``grow`` attaches what came back. Settings have the values of arXiv 2509.26628.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from verl_softthink.methods.attnrl.entropy import entropy_branch_points
from verl_softthink.methods.attnrl.expansion import responses_to_branch
from verl_softthink.methods.attnrl.points import branch_points
from verl_softthink.methods.attnrl.selection import AttentionFilter
from verl_softthink.methods.attnrl.steps import Steps
from verl_softthink.methods.attnrl.tree import Continuation, InitialResponse


@dataclass(frozen=True)
class BranchSettings:
    """How responses are branched.

    Attributes:
        points: branch points of a response, at most.
        continuations: sampled from each.
        quantile: of the influence, at and above which a step is a candidate.
        spacing: tokens between the start of the response and the first point, and between points.
        branching: "attention": before the most influential steps; "entropy": before the least certain tokens.
        expansion: "difficulty": the harder a prompt, the more of its responses are branched; "all": every one.
    """

    points: int = 2
    continuations: int = 2
    quantile: float = 0.8
    spacing: int = 512
    branching: Literal["attention", "entropy"] = "attention"
    expansion: Literal["difficulty", "all"] = "difficulty"


@dataclass(frozen=True)
class ScoredResponse:
    """An initial response as the plan needs it.

    Attributes:
        steps: of the response.
        influence: [S] float of its steps, zeros where no branch may start.
        correct: its reward.
        entropy: [T] nats of the distribution that each token was drawn from, where branching is by entropy.
        eligible: [T] bool, tokens at which a branch may start; None for all, where branching is by influence.
    """

    steps: Steps
    influence: Tensor
    correct: bool
    entropy: Tensor | None = None
    eligible: Tensor | None = None


@dataclass(frozen=True)
class Branch:
    """One continuation to sample: prompt and the first ``cut`` tokens of initial response ``response``."""

    response: int
    cut: int


@dataclass(frozen=True)
class Sampled:
    """What came back for a branch: its own tokens, and the reward of prefix and continuation together."""

    length: int
    value: float


def plan_branches(
    responses: Sequence[ScoredResponse],
    settings: BranchSettings,
    attention_filter: AttentionFilter | None,
    generator: torch.Generator,
) -> list[Branch]:
    """The branches of one prompt, in the order of responses and cuts; none where the prompt is not kept.

    Args:
        responses: all initial responses of the prompt, at least one.
        settings: points and continuations.
        attention_filter: counts the prompt if all its responses are right; None keeps every prompt.
        generator: of the difficulty-aware expansion.
    """
    correct = [response.correct for response in responses]
    if attention_filter is not None and not attention_filter.keep(correct, mean_influence(responses)):
        return []
    everyone = list(range(len(responses)))
    branched = everyone if settings.expansion == "all" else responses_to_branch(correct, generator)
    return [
        Branch(index, cut)
        for index in branched
        for cut in _cuts(responses[index], settings)
        for _ in range(settings.continuations)
    ]


def mean_influence(responses: Sequence[ScoredResponse]) -> float:
    """Over the steps of all responses; 0 where there are none."""
    values = torch.cat([response.influence for response in responses])
    return float(values.mean()) if len(values) else 0.0


def _cuts(response: ScoredResponse, settings: BranchSettings) -> list[int]:
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


def grow(
    responses: Sequence[ScoredResponse], branches: Sequence[Branch], sampled: Sequence[Sampled | None]
) -> list[InitialResponse]:
    """The prompt's responses with their continuations, for ``tree.nodes`` and ``rows.leaf_rows``.

    Args:
        responses: as planned with.
        branches: the plan.
        sampled: the result of each branch; None for one that was aborted, which has no value and takes no part.

    Raises:
        ValueError: when branches and results do not correspond.
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
