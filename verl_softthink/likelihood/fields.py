"""What a batch carries for the likelihood engine: trace fields per response and one record of settings."""

import math
from dataclasses import MISSING, dataclass, fields

from torch import Tensor

from verl_softthink.laws import Law, LawParameters, get_law

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
#: [S] int64, where the token before each stands; only in a batch laid out as a tree (``tree_traces.py``).
PREDECESSORS = "softthink_predecessors"

NORMALISERS = ("candidates", "vocabulary")
#: What the trace carries of a drawn embedding, with the fields that this takes.
FED_FIELDS = {"embedding": (SCALE, FED), "seed": (SCALE, SEED)}


@dataclass(frozen=True)
class ScoringSettings:
    """How the traces of a batch are embedded and scored.

    Attributes:
        law: the law that drew them.
        tau: temperature of the Gumbel-softmax relaxation, > 0.
        noise_scale: scale of the Gumbel noise, > 0.
        normalise_over: what candidates' log-probabilities are normalised over, one of ``NORMALISERS``.
        temperature: what divided the raw logits at drawn positions, > 0; the answer has verl's own.
        detach_inputs: keep gradients out of the mixtures' embeddings; drawn embeddings are constants in any case.
        concentration: sum of the Dirichlet law's parameters, > 0.
        fed: what the trace carries of a drawn embedding, one of ``FED_FIELDS``.
        positions_at_once: of which the head's logits are held at a time; None holds all of them, as verl does.
    """

    law: Law
    tau: float
    noise_scale: float
    normalise_over: str
    temperature: float
    detach_inputs: bool
    concentration: float = 1.0
    fed: str = "embedding"
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
        for key in ("tau", "noise_scale", "temperature", "concentration"):
            if key in values and not (values[key] > 0 and math.isfinite(values[key])):
                raise ValueError(f"softthink: {key}={values[key]!r} must be a finite number above 0")
        law = trainable_law(values["law"])
        normalise_over = values["normalise_over"]
        if normalise_over not in NORMALISERS:
            raise ValueError(f"softthink: normalise_over={normalise_over!r} is unknown; use {' or '.join(NORMALISERS)}")
        if law.whole_vocabulary and normalise_over != "vocabulary":
            raise ValueError(
                f"softthink: normalise_over={normalise_over!r} does not fit the law {law.name!r}, which is scored over "
                "the vocabulary; use 'vocabulary'"
            )
        if values.get("fed", "embedding") not in FED_FIELDS:
            raise ValueError(f"softthink: fed={values['fed']!r} is unknown; use {' or '.join(FED_FIELDS)}")
        if law.draws_embedding and values.get("fed") == "seed" and normalise_over != "candidates":
            raise ValueError(
                "softthink: fed='seed' rebuilds drawn embeddings from the trace's candidates, but the mean is over the "
                "vocabulary; use normalise_over='candidates' or fed='embedding'"
            )
        if law.draws_embedding and values.get("positions_at_once") is not None:
            raise ValueError(
                f"softthink.likelihood.positions_at_once={values['positions_at_once']} does not cover the law "
                f"{law.name!r}, which is scored in the embedding space; set it to null"
            )
        return cls(**values | {"law": law})

    @property
    def trace_fields(self) -> tuple[str, ...]:
        """The fields that the law's traces have."""
        return TRACE_FIELDS + (FED_FIELDS[self.fed] if self.law.draws_embedding else ())

    def parameters(self, positions: Tensor) -> LawParameters:
        """The law's parameters for as many positions as ``positions`` has rows, on its device."""
        return LawParameters.uniform(
            len(positions),
            tau=self.tau,
            noise_scale=self.noise_scale,
            concentration=self.concentration,
            device=positions.device,
        )


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
