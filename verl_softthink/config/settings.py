"""The settings of soft thinking, as users write them under ``softthink:``; every field has a range and a unit.

The same three groups (law, filter, phase) are what one vLLM request carries in
``SamplingParams.extra_args["softthink"]``, so a recipe and a hand-written request are checked by one schema.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from verl_softthink.config.base import PositiveFloat, Probability, Settings
from verl_softthink.laws import LAWS
from verl_softthink.process_reward.settings import ReproSettings
from verl_softthink.variational.settings import VariationalSettings


class LawSettings(Settings):
    """Which law draws the soft positions."""

    name: str = "gumbel"
    tau: PositiveFloat = 0.1
    # Below a quarter the Gumbel density overflows float32 once a log-probability rises 88 * noise_scale nats above
    # a stored score, which a drifted policy then reaches; above four the draw hardly depends on the model.
    noise_scale: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    normalise_over: Literal["candidates", "vocabulary"] | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in LAWS:
            raise ValueError(f"unknown law; use one of {', '.join(sorted(LAWS))}")
        return name

    @model_validator(mode="after")
    def _fits_the_law(self) -> Self:
        if self.name == "discrete" and self.normalise_over == "candidates":
            raise ValueError("the discrete law is scored over the vocabulary; remove law.normalise_over")
        if self.name == "deterministic" and self.normalise_over == "vocabulary":
            raise ValueError("the deterministic mixture is renormalised over its candidates; remove law.normalise_over")
        if self.name == "gumbel_reference" and self.noise_scale != 1:
            raise ValueError(
                "the released code that gumbel_reference repeats has no noise scale; set law.noise_scale=1"
            )
        return self

    @property
    def normaliser(self) -> str:
        """What log-probabilities are normalised over: the setting, or else the law's own default."""
        return self.normalise_over or LAWS[self.name].normalise_over


class FilterSettings(Settings):
    """Which tokens may enter a mixture: applied in the order top-k, top-p, min-p, max_topk."""

    temperature: PositiveFloat = 1.0
    top_k: Annotated[int, Field(ge=0)] = 5
    top_p: Probability = 0.95
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_topk: Annotated[int, Field(ge=1, le=64)] = 5


class PhaseSettings(Settings):
    """When thinking starts, ends, and how it is ended."""

    end_of_thinking: str | list[int] = "</think>"
    budget: Annotated[int, Field(ge=1)] | None = None
    cold_entropy: Annotated[float, Field(ge=0)] = 0.0
    cold_length: Annotated[int, Field(ge=0)] = 0

    @field_validator("end_of_thinking")
    @classmethod
    def _not_empty(cls, marker: str | list[int]) -> str | list[int]:
        if not marker:
            raise ValueError("the marker is empty; give the text, e.g. '</think>', or its token ids")
        return marker

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.cold_entropy > 0) != (self.cold_length > 0):
            raise ValueError(
                "a cold stop needs both phase.cold_entropy > 0 (nats) and phase.cold_length > 0 (steps); set both or "
                "neither"
            )
        return self


class RequestSettings(Settings):
    """One soft request: the value of ``SamplingParams.extra_args["softthink"]``."""

    law: LawSettings = LawSettings()
    filter: FilterSettings = FilterSettings()
    phase: PhaseSettings = PhaseSettings()
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    record_entropy: bool = False


class LikelihoodSettings(Settings):
    """How training scores a trace."""

    detach_inputs: bool = False


class RolloutSettings(Settings):
    """Soft rollouts during training and validation."""

    validation: Literal["soft", "discrete"] = "soft"
    prefix_cache_salt: bool = True
    record_entropy: bool = False
    seed: int = 0
    seed_answers: bool = False


class EntropyProfileSettings(Settings):
    """Next-token entropy by position of the chain of thought; these positions are logged, dumps have all."""

    positions: list[Annotated[int, Field(ge=0)]] = [0, 8, 32, 128]


class SoftThinkSettings(Settings):
    """The ``softthink:`` node of a recipe or of several: how soft positions are drawn, then one group per method.

    Attributes:
        law: None where rollouts are verl's own, of discrete tokens; then ``filter`` has nothing to act on.
        variational: traces of a posterior that sees a hint (``recipes/variational``).
    """

    law: LawSettings | None = None
    filter: FilterSettings = FilterSettings()
    phase: PhaseSettings = PhaseSettings()
    likelihood: LikelihoodSettings = LikelihoodSettings()
    rollout: RolloutSettings = RolloutSettings()
    repro: ReproSettings | None = None
    variational: VariationalSettings | None = None
    entropy_profile: EntropyProfileSettings | None = None

    def request(self, seed: int) -> RequestSettings:
        """The settings of one soft request of this recipe."""
        return RequestSettings(
            law=self.law, filter=self.filter, phase=self.phase, seed=seed, record_entropy=self.rollout.record_entropy
        )
