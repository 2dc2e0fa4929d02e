"""Batches that mix everything a rollout mixes: ragged candidate sets and per-row parameters, in double precision."""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.laws import NO_CANDIDATE, Candidates, LawParameters

VOCABULARY = 50


@dataclass(frozen=True)
class Batch:
    candidates: Candidates  # [N, K], the rollout's
    parameters: LawParameters  # [N]
    noise: Tensor  # [N, K] standard Gumbel
    other_logits: Tensor  # [N, K] the same candidates' logits under another model; meaningless in unused slots

    @property
    def other_log_probs(self) -> Tensor:
        return normalised(self.other_logits, self.candidates.mask)


def ragged_batch(seed: int, rows: int = 24, width: int = 5, dtype: torch.dtype = torch.float64) -> Batch:
    """Row n holds 1 + n mod K candidates; temperatures and noise scales differ from row to row."""
    generator = torch.Generator().manual_seed(seed)
    count = 1 + torch.arange(rows) % width
    mask = torch.arange(width) < count[:, None]
    ids = torch.stack([torch.randperm(VOCABULARY, generator=generator)[:width] for _ in range(rows)])
    logits = 2.0 * torch.randn(rows, width, generator=generator, dtype=torch.float64)
    uniform = torch.rand(rows, width, generator=generator, dtype=torch.float64)
    tau = 0.05 * 40.0 ** torch.rand(rows, generator=generator, dtype=torch.float64)  # .05 .. 2
    scale = 0.5 * 4.0 ** torch.rand(rows, generator=generator, dtype=torch.float64)  # .5 .. 2
    return Batch(
        candidates=Candidates(ids=ids.masked_fill(~mask, NO_CANDIDATE), log_probs=normalised(logits, mask).to(dtype)),
        parameters={"tau": tau.to(dtype), "noise_scale": scale.to(dtype)},
        noise=(-(-uniform.log()).log()).to(dtype),
        other_logits=(logits + torch.randn(rows, width, generator=generator, dtype=torch.float64)).to(dtype),
    )


def normalised(logits: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities over the used slots, ``-inf`` in the others."""
    return logits.masked_fill(~mask, -torch.inf).log_softmax(-1)


def same_row(values: list[float], rows: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[rows, len(values)]: one row repeated."""
    return torch.tensor(values, dtype=dtype).expand(rows, len(values))
