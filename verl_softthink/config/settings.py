"""The settings of soft thinking, as users write them under ``softthink:``; every field has a range and a unit.

The same three groups (law, filter, phase) are what one vLLM request carries in
``SamplingParams.extra_args["softthink"]``, so a recipe and a hand-written request are checked by one schema.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from verl_softthink.config.base import Float32, Int64, Probability, Settings, parse
from verl_softthink.config.messages import shown
from verl_softthink.laws import DEFAULT, LAWS, Law, LawParameters, ParameterValue, get_law
from verl_softthink.laws.parameters import SMALLEST_TEMPERATURE, check_fits
from verl_softthink.laws.registry import COMMON_KEYS


class LawSettings(Settings):
    """Which law draws the soft positions, and its parameters: ``softthink.law``.

    Every key but the two below is a parameter of the law, checked by the law's own declaration. All of the law's
    parameters are attributes of the result, those not given (or null) with their defaults.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = DEFAULT
    normalise_over: Literal["candidates", "vocabulary"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _parameters(cls, given: object) -> object:
        """Replaces the parameters as given by those of the law, complete and in their declared types."""
        law = _find(given.get("name", DEFAULT)) if isinstance(given, Mapping) else None
        if law is None:
            return given
        settings = {key: given[key] for key in COMMON_KEYS if key in given}
        declared = {parameter.name: parameter for parameter in law.parameters}
        problems = []
        for key, value in given.items():
            foreign = key not in settings and key not in declared
            if foreign and (value is not None or not _laws_with(key)):
                problems.append(_problem(key, value, _unknown(key, law)))
        for key, parameter in declared.items():
            value = given.get(key)
            try:
                settings[key] = parameter.default if value is None else parameter.parse(value)
            except ValueError as error:
                problems.append(_problem(key, value, str(error)))
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return settings

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in LAWS:
            raise ValueError(f"unknown law; use one of {', '.join(sorted(LAWS))}")
        # Imports it, and says what is wrong with one that was installed.
        return LAWS[name].name

    @model_validator(mode="after")
    def _fits_the_law(self) -> Self:
        law = LAWS[self.name]
        if self.normaliser not in law.normalisers:
            raise ValueError(
                f"law.normalise_over={self.normaliser!r}: the law {self.name!r} is normalised over the "
                f"{' or the '.join(law.normalisers)}; remove law.normalise_over"
            )
        if problem := law.problem(self.parameters, self.normaliser):
            raise ValueError(problem)
        return self

    @property
    def parameters(self) -> dict[str, ParameterValue]:
        """All of the law's parameters."""
        return dict(self.model_extra)

    @property
    def normaliser(self) -> str:
        """What log-probabilities are normalised over: the setting, or else the law's own default."""
        return self.normalise_over or LAWS[self.name].normalisers[0]

    @property
    def slots(self) -> int:
        """Candidate slots that a draw takes whatever the filter keeps; 0 where it takes the filter's candidates."""
        return LAWS[self.name].slots(self.parameters)

    @property
    def carries_embedding(self) -> bool:
        """Whether traces carry drawn embeddings, [T, H] beside the candidates."""
        return LAWS[self.name].carries_embedding(self.parameters)

    @property
    def rebuilds_embedding(self) -> bool:
        """Whether drawn embeddings are rebuilt from their seeds, which traces carry instead."""
        return LAWS[self.name].draws_embedding and not self.carries_embedding

    def columns(self, rows: int) -> LawParameters:
        """The law's parameters for ``rows`` positions."""
        return LAWS[self.name].columns(rows, **self.parameters)

    def scoring(self) -> dict:
        """What the likelihood engine needs of the law, beside the temperature."""
        return {"law": self.name, "normalise_over": self.normaliser, "parameters": self.parameters}


def _find(name: object) -> Law | None:
    """The law of that name; None for one that its own validation will refuse."""
    try:
        return get_law(name) if isinstance(name, str) else None
    except ValueError:
        return None


def _laws_with(key: str) -> list[str]:
    """Our laws that have a parameter of that name."""
    return [law.name for law in LAWS.own if any(parameter.name == key for parameter in law.parameters)]


def _unknown(key: str, law: Law) -> str:
    if owners := _laws_with(key):
        return f"it is a parameter of {', '.join(owners)}, which the law {law.name!r} does not have; remove it"
    known = (*COMMON_KEYS, *(parameter.name for parameter in law.parameters))
    return f"unknown key; known keys of the law {law.name!r} are {', '.join(known)}"


def _problem(key: str, value: object, reason: str) -> InitErrorDetails:
    error = PydanticCustomError("parameter", "{reason}", {"reason": reason})
    return InitErrorDetails(type=error, loc=(key,), input=value)


#: Of a mixture; also the most slots that an engine can be given.
MOST_CANDIDATES = 64


class FilterSettings(Settings):
    """Which tokens may enter a mixture: applied in the order top-k, top-p, min-p, max_topk."""

    temperature: Annotated[Float32, Field(ge=SMALLEST_TEMPERATURE)] = 1.0
    top_k: Annotated[Int64, Field(ge=0)] = 5
    top_p: Probability = 0.95
    min_p: Annotated[Float32, Field(ge=0, lt=1)] = 0.0
    max_topk: Annotated[Int64, Field(ge=1, le=MOST_CANDIDATES)] = 5


class PhaseSettings(Settings):
    """When thinking starts, ends, how it is ended, and what follows."""

    end_of_thinking: str | list[int] = "</think>"
    # What must hold the marker: the text that the shown tokens write, or their ids. None: the text, of a marker that is
    # given as one.
    match: Literal["text", "tokens"] | None = None
    # Thinking positions after which thinking is cut short; 0 answers at once, behind the lead-in.
    budget: Annotated[Int64, Field(ge=0)] | None = None
    cold_entropy: Annotated[Float32, Field(ge=0)] = 0.0
    cold_length: Annotated[Int64, Field(ge=0)] = 0
    # Forced after thinking that ended by itself.
    answer_prefix: str | list[int] | None = None
    # Forced where thinking is cut short; None for the marker followed by the prefix.
    lead_in: str | list[int] | None = None
    # Answer tokens, without prefix and lead-in, after which the request is stopped; None for no limit but max_tokens.
    answer_budget: Annotated[Int64, Field(ge=1)] | None = None
    # Switching between soft steps and ordinary tokens: how often at most, 0 for never, and the least hard block.
    switches: Annotated[Int64, Field(ge=0)] = 0
    switch_window: Annotated[Int64, Field(ge=1)] = 512

    @field_validator("end_of_thinking", "answer_prefix", "lead_in", mode="before")
    @classmethod
    def _text_or_token_ids(cls, marker: object) -> object:
        if marker is None:
            return marker
        ids = isinstance(marker, Sequence) and not isinstance(marker, bytes) and all(type(one) is int for one in marker)
        if not isinstance(marker, str) and not ids:
            raise ValueError("it must be a text, or a list of token ids")
        if ids:
            for token in marker:
                check_fits(token, torch.int32)
        if not marker:
            raise ValueError("it is empty; give a text, e.g. '</think>', or token ids")
        if isinstance(marker, str) and any("\ud800" <= character <= "\udfff" for character in marker):
            raise ValueError("it holds half of a surrogate pair, which no tokenizer can read; give whole characters")
        return marker

    @property
    def marker_text(self) -> str:
        """The marker, if it is looked for in the text; empty if token ids are compared."""
        by_text = isinstance(self.end_of_thinking, str) and self.match != "tokens"
        return self.end_of_thinking if by_text else ""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.cold_entropy > 0) != (self.cold_length > 0):
            raise ValueError(
                "a cold stop needs both phase.cold_entropy > 0 (nats) and phase.cold_length > 0 (steps); set both or "
                "neither"
            )
        if self.match == "text" and not isinstance(self.end_of_thinking, str):
            raise ValueError(
                f"phase.match='text' looks for a text, but phase.end_of_thinking={shown(self.end_of_thinking)} are "
                "token ids; give the text or set match=tokens"
            )
        return self


class PrefixSettings(Settings):
    """Response positions that the prompt ends with: what ``rollout.prefix.encode_prefix`` makes of their trace."""

    length: Annotated[Int64, Field(ge=1)]
    # Name of the law that drew it, and the parameters that the law reads.
    law: dict[str, str | bool | int | float]
    # A text is not taken for bytes: JSON cannot carry them.
    rows: Annotated[bytes, Field(strict=True)]
    seeds: Annotated[bytes, Field(strict=True)] | None = None


class RequestSettings(Settings):
    """One soft request: the value of ``SamplingParams.extra_args["softthink"]``."""

    law: LawSettings = LawSettings()
    filter: FilterSettings = FilterSettings()
    phase: PhaseSettings = PhaseSettings()
    seed: Int64 | None = None
    record_entropy: bool = False
    prefix: PrefixSettings | None = None


class LikelihoodSettings(Settings):
    """How training scores a trace."""

    detach_inputs: bool = False
    # Positions of which the head's logits are held at a time, so that long batches fit; null holds all, as verl does.
    positions_at_once: Annotated[Int64, Field(ge=1)] | None = None


class RolloutSettings(Settings):
    """Soft rollouts during training and validation."""

    validation: Literal["soft", "discrete"] = "soft"
    prefix_cache_salt: bool = True
    record_entropy: bool = False
    seed: Int64 = 0
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
