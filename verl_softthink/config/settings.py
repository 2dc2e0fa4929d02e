"""The settings of soft thinking, as users write them under ``softthink:``; every field has a range and a unit.

The same three groups (law, filter, phase) are what one vLLM request carries in
``SamplingParams.extra_args["softthink"]``, so a recipe and a hand-written request are checked by one schema.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from verl_softthink.config.base import PositiveFloat, Probability, Settings, parse
from verl_softthink.laws import LAWS, LawParameters
from verl_softthink.laws.registry import SCORED_WITH

#: Settings that single laws have, with their defaults.
OWN_SETTINGS = {key: value for law in LAWS.own for key, value in law.own_settings.items()}


class LawSettings(Settings):
    """Which law draws the soft positions."""

    name: str = "gumbel"
    tau: PositiveFloat = 0.1
    # Below a quarter the Gumbel density overflows float32 once a log-probability rises 88 * noise_scale nats above
    # a stored score, which a drifted policy then reaches; above four the draw hardly depends on the model.
    noise_scale: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    normalise_over: Literal["candidates", "vocabulary"] | None = None
    # Settings of single laws, None for the law's default (``own_settings``).
    # dirichlet: sum of its parameters; below a hundredth a draw is a token, above 1e4 it is the distribution.
    concentration: Annotated[float, Field(ge=0.01, le=1e4)] | None = None
    # mixture_of_inputs: weight of the sampled token.
    beta: Annotated[float, Field(ge=0, le=1e3)] | None = None
    # multiplex: tokens drawn at a position, and their weights.
    draws: Annotated[int, Field(ge=1, le=64)] | None = None
    weighting: Literal["uniform", "probability"] | None = None
    # gaussian: length of the noise in embeddings; 0 feeds the mean. The paper reports a collapse at 3.
    gamma: Annotated[float, Field(ge=0, le=10)] | None = None
    # gaussian: what the trace carries of the draw, the fed embedding or the seed that rebuilds it.
    fed: Literal["embedding", "seed"] | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in LAWS:
            raise ValueError(f"unknown law; use one of {', '.join(sorted(LAWS))}")
        # Imports it, and says what is wrong with one that was installed.
        return LAWS[name].name

    @model_validator(mode="after")
    def _fits_the_law(self) -> Self:
        if self.name == "discrete" and self.normalise_over == "candidates":
            raise ValueError("the discrete law is scored over the vocabulary; remove law.normalise_over")
        if self.name == "multiplex" and self.normalise_over == "candidates":
            raise ValueError("multiplex draws are scored over the vocabulary; remove law.normalise_over")
        if self.name in ("deterministic", "dirichlet", "mixture_of_inputs") and self.normalise_over == "vocabulary":
            raise ValueError(f"the {self.name} mixture is renormalised over its candidates; remove law.normalise_over")
        if self.name == "gaussian" and self.fed == "seed" and self.normaliser == "vocabulary":
            raise ValueError(
                "law.fed='seed' rebuilds the fed embedding from the candidates in the trace, but the mean is over the "
                "vocabulary; set law.normalise_over=candidates or law.fed=embedding"
            )
        if self.name == "gumbel_reference" and self.noise_scale != 1:
            raise ValueError(
                "the released code that gumbel_reference repeats has no noise scale; set law.noise_scale=1"
            )
        for key in OWN_SETTINGS:
            if getattr(self, key) is not None and key not in LAWS[self.name].own_settings:
                users = [law.name for law in LAWS.own if key in law.own_settings]
                raise ValueError(
                    f"law.{key}={getattr(self, key)!r} is a setting of {', '.join(users)}, which the law {self.name!r} "
                    "does not read; remove it"
                )
        return self

    @property
    def normaliser(self) -> str:
        """What log-probabilities are normalised over: the setting, or else the law's own default."""
        return self.normalise_over or LAWS[self.name].normalise_over

    def own(self, key: str) -> float | int | str:
        """A setting of single laws: as set, or the default of the law that reads it."""
        value = getattr(self, key)
        return LAWS[self.name].own_settings.get(key, OWN_SETTINGS[key]) if value is None else value

    @property
    def draws_embedding(self) -> bool:
        """Whether traces carry fed embeddings, [T, H] beside the candidates."""
        return LAWS[self.name].draws_embedding and self.own("fed") == "embedding"

    def values(self) -> dict[str, str | bool | int | float]:
        """The law's name and every parameter, with the law's own default where a key is null."""
        return {
            "law": self.name,
            "tau": self.tau,
            "noise_scale": self.noise_scale,
            "normalise_over": self.normaliser,
            "concentration": self.own("concentration"),
            "beta": self.own("beta"),
            "draws": self.own("draws"),
            "by_probability": self.own("weighting") == "probability",
            "gamma": self.own("gamma"),
        }

    def parameters(self, rows: int) -> LawParameters:
        """The law's parameters for ``rows`` positions."""
        values = self.values()
        return LawParameters.uniform(rows, **{field.name: values[field.name] for field in fields(LawParameters)})

    def scoring(self) -> dict:
        """What the likelihood engine needs of the law, beside the temperature."""
        values = self.values()
        return {name: values[name] for name in ("law", "normalise_over", *SCORED_WITH)} | {"fed": self.own("fed")}


class FilterSettings(Settings):
    """Which tokens may enter a mixture: applied in the order top-k, top-p, min-p, max_topk."""

    temperature: PositiveFloat = 1.0
    top_k: Annotated[int, Field(ge=0)] = 5
    top_p: Probability = 0.95
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_topk: Annotated[int, Field(ge=1, le=64)] = 5


class PhaseSettings(Settings):
    """When thinking starts, ends, how it is ended, and what follows."""

    end_of_thinking: str | list[int] = "</think>"
    # What must end with the marker: the shown token ids, or the text that they write.
    match: Literal["tokens", "text"] = "tokens"
    budget: Annotated[int, Field(ge=1)] | None = None
    cold_entropy: Annotated[float, Field(ge=0)] = 0.0
    cold_length: Annotated[int, Field(ge=0)] = 0
    # Placed after thinking that ended by itself.
    answer_prefix: str | list[int] | None = None
    # Placed where thinking is cut short; None for the marker followed by the prefix.
    lead_in: str | list[int] | None = None
    # Answer tokens, without prefix and lead-in, after which the request is stopped; None for no limit but max_tokens.
    answer_budget: Annotated[int, Field(ge=1)] | None = None
    # Switching between soft steps and ordinary tokens: how often at most, 0 for never, and the least hard block.
    switches: Annotated[int, Field(ge=0)] = 0
    switch_window: Annotated[int, Field(ge=1)] = 512

    @field_validator("end_of_thinking", "answer_prefix", "lead_in")
    @classmethod
    def _not_empty(cls, marker: str | list[int] | None) -> str | list[int] | None:
        if marker is not None and not marker:
            raise ValueError("it is empty; give a text, e.g. '</think>', or token ids")
        return marker

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.cold_entropy > 0) != (self.cold_length > 0):
            raise ValueError(
                "a cold stop needs both phase.cold_entropy > 0 (nats) and phase.cold_length > 0 (steps); set both or "
                "neither"
            )
        if self.match == "text" and not isinstance(self.end_of_thinking, str):
            raise ValueError(
                f"phase.match='text' looks for a text, but phase.end_of_thinking={self.end_of_thinking} are token ids; "
                "give the text or set match=tokens"
            )
        return self


class PrefixSettings(Settings):
    """Response positions that the prompt ends with: what ``rollout.prefix.encode_prefix`` makes of their trace."""

    length: Annotated[int, Field(ge=1)]
    # Name of the law that drew it, and the parameters that the law reads.
    law: dict[str, str | bool | int | float]
    rows: bytes
    seeds: bytes | None = None


class RequestSettings(Settings):
    """One soft request: the value of ``SamplingParams.extra_args["softthink"]``."""

    law: LawSettings = LawSettings()
    filter: FilterSettings = FilterSettings()
    phase: PhaseSettings = PhaseSettings()
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    record_entropy: bool = False
    prefix: PrefixSettings | None = None


class LikelihoodSettings(Settings):
    """How training scores a trace."""

    detach_inputs: bool = False
    # Positions of which the head's logits are held at a time, so that long batches fit; null holds all, as verl does.
    positions_at_once: Annotated[int, Field(ge=1)] | None = None


class RolloutSettings(Settings):
    """Soft rollouts during training and validation."""

    validation: Literal["soft", "discrete"] = "soft"
    prefix_cache_salt: bool = True
    record_entropy: bool = False
    seed: int = 0
    seed_answers: bool = False


class SoftThinkSettings(Settings):
    """What every ``softthink:`` node has: how positions are drawn and scored. Methods add a group each
    (``methods.settings``).

    Attributes:
        law: None where rollouts are verl's own, of discrete tokens; then ``filter`` has nothing to act on.
    """

    law: LawSettings | None = None
    filter: FilterSettings = FilterSettings()
    phase: PhaseSettings = PhaseSettings()
    likelihood: LikelihoodSettings = LikelihoodSettings()
    rollout: RolloutSettings = RolloutSettings()

    @classmethod
    def of_node(cls, node: Mapping) -> Self:
        """Read a node that the driver has checked; the groups of methods are theirs to read."""
        return parse(cls, {key: node[key] for key in node if key in cls.model_fields}, "softthink")

    def request(self, seed: int, prefix: dict | None = None) -> RequestSettings:
        """The settings of one soft request of this recipe; ``prefix`` is an encoded one that it continues."""
        return RequestSettings(
            law=self.law,
            filter=self.filter,
            phase=self.phase,
            seed=seed,
            record_entropy=self.rollout.record_entropy,
            prefix=prefix,
        )
