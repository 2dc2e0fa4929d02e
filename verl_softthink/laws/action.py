"""The two records a law works with: the frozen candidates of a step, and the action drawn among them."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

# Slots of a row beyond its candidates carry this id: no real token has it, so no token id is a sentinel.
NO_CANDIDATE = -1


@dataclass(frozen=True)
class Candidates:
    """The candidates of N steps, frozen at rollout time: training never filters again.

    Attributes:
        ids: [N, K] int64 token ids, most likely first; ``NO_CANDIDATE`` in unused slots.
        log_probs: [N, K] float32 normalised log-probabilities l_i; ``-inf`` in unused slots.
    """

    ids: Tensor
    log_probs: Tensor

    @property
    def mask(self) -> Tensor:
        """[N, K] bool, true where a slot holds a candidate."""
        return self.ids != NO_CANDIDATE


@dataclass(frozen=True)
class Action:
    """What a law drew at N steps: enough to rebuild both the input embedding and the likelihood.

    Attributes:
        ids: [N, K] int64 candidate ids, ``NO_CANDIDATE`` in unused slots.
        values: [N, K] float32, whose meaning is the law's (perturbed scores, log-weights ...); 0 in unused slots.
        fed: [N, H] the input embedding itself, for a law whose draw is an embedding (``Law.draws_embedding``).
        scale: [N] float32, standard deviation of each of its coordinates.
    """

    ids: Tensor
    values: Tensor
    fed: Tensor | None = None
    scale: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """[N, K] bool, true where a slot holds a candidate."""
        return self.ids != NO_CANDIDATE

    def __getitem__(self, index: Tensor) -> "Action":
        return Action(**_indexed(self, index))


@dataclass(frozen=True)
class LawParameters:
    """Per-row parameters of a law: rows of one batch may differ. A field that no law at hand reads may be None.

    Attributes:
        tau: [N] float32 > 0, temperature of the Gumbel-softmax relaxation (tau_g in the paper).
        noise_scale: [N] float32 > 0, scale of the Gumbel noise (``noise_factor`` in the published fork).
        concentration: [N] float32 > 0, sum of the Dirichlet law's parameters.
        beta: [N] float32 >= 0, weight of the sampled token in a mixture of inputs.
        draws: [N] int64 >= 1, tokens that the multiplex law draws.
        by_probability: [N] bool, multiplex weights follow the tokens' probabilities.
    """

    tau: Tensor | None = None
    noise_scale: Tensor | None = None
    concentration: Tensor | None = None
    beta: Tensor | None = None
    draws: Tensor | None = None
    by_probability: Tensor | None = None

    @classmethod
    def uniform(
        cls,
        rows: int,
        *,
        tau: float = 1.0,
        noise_scale: float = 1.0,
        concentration: float = 1.0,
        beta: float = 1.0,
        draws: int = 1,
        by_probability: bool = False,
        device: torch.device | str | None = None,
    ) -> "LawParameters":
        """The same parameters for every one of ``rows`` rows."""

        def column(value: float) -> Tensor:
            return torch.full((rows,), value, dtype=torch.float32, device=device)

        return cls(
            tau=column(tau),
            noise_scale=column(noise_scale),
            concentration=column(concentration),
            beta=column(beta),
            draws=torch.full((rows,), draws, dtype=torch.int64, device=device),
            by_probability=torch.full((rows,), by_probability, dtype=torch.bool, device=device),
        )

    def __getitem__(self, index: Tensor) -> "LawParameters":
        return LawParameters(**_indexed(self, index))


def _indexed(record: Action | LawParameters, index: Tensor) -> dict[str, Tensor | None]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: None if value is None else value[index] for name, value in values.items()}
