"""What a batch carries for the likelihood engine: trace fields per response and one record of settings."""

import math
from dataclasses import MISSING, dataclass, fields

from torch import Tensor

from verl_softthink.laws import Law, LawParameters, ParameterValue, get_law

#: Key of the batch's non-tensor settings, a dict with the keys of ``ScoringSettings``.
SETTINGS = "softthink"
#: [T] bool: the law's mixture was fed at this response position.
SOFT = "softthink_soft"
#: [T] bool: the law drew an action at this response position.
DRAWN = "softthink_drawn"
#: [T, K] int32 candidate ids, ``NO_CANDIDATE`` in unused slots.
IDS = "softthink_ids"
#: [T, K] float32, the action's values.
VALUES = "softthink_values"
#: Jagged nested tensors with one row of the response's length per sample.
TRACE_FIELDS = (SOFT, DRAWN, IDS, VALUES)
#: [T] float32, [T, H] float32, [T] int64: a drawn embedding's scale, itself, and the seed of its request.
SCALE, FED, SEED = "softthink_scale", "softthink_fed", "softthink_seed"
#: [S] int64, the index of the token before each; only in a batch laid out as a tree (``prefix_tree.py``).
PREDECESSORS = "softthink_predecessors"


@dataclass(frozen=True)
class ScoringSettings:
    """How the traces of a batch are embedded and scored.

    Attributes:
        law: the law that drew them.
        parameters: all of the law's, by name.
        normalise_over: what candidates' log-probabilities are normalised over, one of the law's normalisers.
        temperature: what divided the raw logits at drawn positions, > 0; the answer has verl's own.
        detach_inputs: keep gradients out of the mixtures' embeddings; drawn embeddings are constants in any case.
        positions_at_once: positions whose logits the head holds at a time; None holds all, as verl does.
    """

    law: Law
    parameters: dict[str, ParameterValue]
    normalise_over: str
    temperature: float
    detach_inputs: bool
    positions_at_once: int | None = None

    @classmethod
    def parse(cls, values: dict) -> "ScoringSettings":
        """Read the batch's record, whose ``law`` is a name.

        Raises:
            ValueError: naming the key, its value and the fix.
        """
        known = [field.name for field in fields(cls)]
        needed = [field.name for field in fields(cls) if field.default is MISSING]
        for key in needed:
            if key not in values:
                raise ValueError(f"batch.extra_info[{SETTINGS!r}] lacks {key!r}; it needs {', '.join(needed)}")
        for key in values:
            if key not in known:
                raise ValueError(f"batch.extra_info[{SETTINGS!r}][{key!r}] is unknown; the keys are {', '.join(known)}")
        temperature = values["temperature"]
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ValueError(f"softthink: temperature={temperature!r} must be a finite number above 0")
        law = trainable_law(values["law"])
        parameters = _parameters(law, values["parameters"])
        normalise_over = values["normalise_over"]
        if normalise_over not in law.normalisers:
            raise ValueError(
                f"softthink: normalise_over={normalise_over!r} does not fit the law {law.name!r}; use "
                f"{' or '.join(map(repr, law.normalisers))}"
            )
        if problem := law.problem(parameters, normalise_over):
            raise ValueError(f"softthink: {problem}")
        if law.draws_embedding and values.get("positions_at_once") is not None:
            raise ValueError(
                f"softthink.likelihood.positions_at_once={values['positions_at_once']} does not cover the law "
                f"{law.name!r}, which is scored in the embedding space; set it to null"
            )
        return cls(**values | {"law": law, "parameters": parameters})

    @property
    def carries_embedding(self) -> bool:
        """Whether traces carry drawn embeddings."""
        return self.law.carries_embedding(self.parameters)

    @property
    def draws_weights(self) -> bool:
        """Whether drawn embeddings are mixtures with noisy weights."""
        return self.law.draws_weights(self.parameters)

    @property
    def trace_fields(self) -> tuple[str, ...]:
        """The fields that the law's traces have."""
        if not self.law.draws_embedding:
            return TRACE_FIELDS
        return (*TRACE_FIELDS, SCALE, FED if self.carries_embedding else SEED)

    def columns(self, positions: Tensor) -> LawParameters:
        """The law's parameters for as many positions as ``positions`` has rows, on its device."""
        return self.law.columns(len(positions), device=positions.device, **self.parameters)


def _parameters(law: Law, values: dict) -> dict[str, ParameterValue]:
    """The law's parameters, checked; all must be sent, because a default in place of one would score another law."""
    declared = {parameter.name: parameter for parameter in law.parameters}
    if values.keys() != declared.keys():
        raise ValueError(
            f"batch.extra_info[{SETTINGS!r}]['parameters'] has {', '.join(values) or 'none'}; the law {law.name!r} "
            f"needs {', '.join(declared) or 'none'}"
        )
    parsed = {}
    for name, parameter in declared.items():
        try:
            parsed[name] = parameter.parse(values[name])
        except ValueError as error:
            raise ValueError(f"softthink: {name}={values[name]!r}: {error}") from error
    return parsed


def trainable_law(name: str) -> Law:
    """The law of that name, which must have a likelihood.

    Raises:
        ValueError: when it has none, or no such law exists.
    """
    law = get_law(name)
    if not law.trainable:
        raise ValueError(
            f"softthink.law.name={name!r} has no likelihood, so it cannot be trained: use it for evaluation, and "
            "train with gumbel or concrete"
        )
    return law
