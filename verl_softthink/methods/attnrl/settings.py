"""Settings of attention-guided tree branching: the ``softthink.attnrl`` group.

How many initial responses a prompt gets is verl's own ``actor_rollout_ref.rollout.n``.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from verl_softthink.config.base import Settings
from verl_softthink.methods.attnrl.steps import SEPARATORS

Count = Annotated[int, Field(ge=1)]


class AttnrlSettings(Settings):
    """AttnRL (arXiv 2509.26628), and TreeRL's branching by entropy as its control.

    Attributes:
        branching: ``attention``: before the steps that later steps attend to most; ``entropy``: before the least
            certain tokens.
        points: most branch points of a branched response.
        continuations: sampled from each point.
        quantile: of a response's influence, from which on a step is a candidate (attention).
        spacing: fewest tokens between the response's start and the first point, and between points (attention).
        separators: what ends a step, in order of preference.
        layers, heads: indices of those whose attention counts; None for all.
        expansion: ``difficulty``: k = ceil(n exp(-accuracy)) responses of a prompt are branched; ``all``: every one.
        attention_filter: drop prompts whose initial responses are all right and whose mean influence is not above the
            running mean over such prompts.
        zero_advantage_filter: drop prompts whose leaves are all right or all wrong.
        adaptive_batch: adapt the number of prompts so that a step trains on about ``wanted_responses`` responses.
        wanted_responses: None for ``data.train_batch_size`` times ``rollout.n``.
        largest_batch: most prompts of a step; None for no limit.
        shared_prefix: compute a shared prefix in the row of every leaf (``repeat``), or once (``dedup``).
        off_policy: 1: one generation call per step, for its continuations and the initial responses of the next step.
        seed: of the choice of responses to branch.
    """

    branching: Literal["attention", "entropy"] = "attention"
    points: Count = 2
    continuations: Count = 2
    quantile: Annotated[float, Field(ge=0, le=1)] = 0.8
    spacing: Annotated[int, Field(ge=0)] = 512
    separators: tuple[str, ...] = SEPARATORS
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    heads: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    expansion: Literal["difficulty", "all"] = "difficulty"
    attention_filter: bool = True
    zero_advantage_filter: bool = True
    adaptive_batch: bool = True
    wanted_responses: Count | None = None
    largest_batch: Count | None = None
    shared_prefix: Literal["repeat", "dedup"] = "repeat"
    off_policy: Literal[0, 1] = 0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @field_validator("separators")
    @classmethod
    def _separators_have_text(cls, separators: tuple[str, ...]) -> tuple[str, ...]:
        if not separators or not all(separators):
            raise ValueError('give at least one separator, and none that is empty, e.g. ["\\n\\n", "\\n"]')
        return separators

    @field_validator("layers", "heads")
    @classmethod
    def _not_empty(cls, indices: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if indices is not None and not indices:
            raise ValueError("the list is empty; give indices, or null for all")
        return indices

    @model_validator(mode="after")
    def _entropy_measures_no_influence(self) -> Self:
        if self.branching == "attention":
            return self
        if self.attention_filter:
            raise ValueError(
                "branching='entropy' measures no influence, which attention_filter=True compares; set "
                "attention_filter=false, or branching=attention"
            )
        if self.layers is not None or self.heads is not None:
            raise ValueError(
                f"branching='entropy' reads no attention, but layers={self.layers} and heads={self.heads} choose some; "
                "set both to null, or branching=attention"
            )
        return self

    @model_validator(mode="after")
    def _limits_of_a_fixed_batch(self) -> Self:
        if not self.adaptive_batch and (self.wanted_responses is not None or self.largest_batch is not None):
            raise ValueError(
                f"adaptive_batch=False always samples data.train_batch_size prompts, but wanted_responses="
                f"{self.wanted_responses} and largest_batch={self.largest_batch} steer their number; set both to null"
            )
        return self
