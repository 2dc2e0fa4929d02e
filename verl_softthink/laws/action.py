"""The two records a law works with: the frozen candidates of a step, and the action drawn among them."""

from dataclasses import dataclass

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
    """

    ids: Tensor
    values: Tensor

    @property
    def mask(self) -> Tensor:
        """[N, K] bool, true where a slot holds a candidate."""
        return self.ids != NO_CANDIDATE


@dataclass(frozen=True)
class LawParameters:
    """Per-row parameters of a law: rows of one batch may differ.

    Attributes:
        tau: [N] float32 > 0, temperature of the Gumbel-softmax relaxation (tau_g in the paper).
        noise_scale: [N] float32 > 0, scale of the Gumbel noise (``noise_factor`` in the published fork).
    """

    tau: Tensor
    noise_scale: Tensor

    @classmethod
    def uniform(
        cls, rows: int, *, tau: float = 1.0, noise_scale: float = 1.0, device: torch.device | str | None = None
    ) -> "LawParameters":
        """The same parameters for every one of ``rows`` rows."""
        return cls(
            tau=torch.full((rows,), tau, dtype=torch.float32, device=device),
            noise_scale=torch.full((rows,), noise_scale, dtype=torch.float32, device=device),
        )

    def __getitem__(self, index: Tensor) -> "LawParameters":
        return LawParameters(tau=self.tau[index], noise_scale=self.noise_scale[index])
