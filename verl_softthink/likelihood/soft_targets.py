"""Positions with a target distribution in place of a target token: what a batch carries, and the score.

    sum_k q_k log p(k),    p = softmax(logits) over the vocabulary

is what verl's losses take for the log-probability of the position: its negative is the cross-entropy of q and p, and
of a q with one candidate it is that token's log-probability.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from verl_softthink.laws import NO_CANDIDATE, candidate_log_probs
from verl_softthink.laws.base import finite, masked_sum
from verl_softthink.likelihood.scoring import POSITIONS_AT_ONCE

#: [S * K] int64 candidates of every position of a sequence, one after another; ``NO_CANDIDATE`` in unused slots, which
#: all are at an ordinary token.
TARGET_IDS = "softthink_target_ids"
#: [S * K] float32 their probabilities, 0 in unused slots.
TARGET_WEIGHTS = "softthink_target_weights"


@dataclass(frozen=True)
class SoftTargets:
    """N positions of B sequences, with K slots each.

    Attributes:
        row: [N] int64, the sequence.
        column: [N] int64, the position in it, at least 1.
        ids: [N, K] int64 candidates, ``NO_CANDIDATE`` in unused slots.
        weights: [N, K] float32 their probabilities, 0 in unused slots.
        starts: [B] int64, where each sequence starts in the packed batch.
    """

    row: Tensor
    column: Tensor
    ids: Tensor
    weights: Tensor
    starts: Tensor

    def packed(self) -> Tensor:
        """[N] indices into the packed batch: all sequences one after another, without padding."""
        return self.starts[self.row] + self.column

    def padded(self, width: int) -> Tensor:
        """[N] indices into the flattened padded batch, whose rows have ``width`` columns."""
        return self.row * width + self.column


def soft_targets(input_ids: Tensor, ids: Tensor, weights: Tensor) -> SoftTargets:
    """The positions of a micro-batch that have a target distribution.

    Args:
        input_ids: [B, S] jagged.
        ids, weights: [B, S * K] jagged, as ``TARGET_IDS`` and ``TARGET_WEIGHTS``.

    Raises:
        ValueError: when the fields do not fit the sequences, or the first position has a target.
    """
    offsets = input_ids.offsets().long()
    total = input_ids.values().numel()
    slots = ids.values().numel() // total
    if not (torch.equal(ids.offsets().long(), offsets * slots) and torch.equal(ids.offsets(), weights.offsets())):
        raise ValueError(
            f"{TARGET_IDS} and {TARGET_WEIGHTS} must have the same number of slots at every position of input_ids; "
            "make all three from one row"
        )
    ids, weights = ids.values().view(total, slots).long(), weights.values().view(total, slots).float()
    index = (ids != NO_CANDIDATE).any(-1).nonzero()[:, 0]
    row = torch.searchsorted(offsets, index, right=True) - 1
    column = index - offsets[row]
    if (column == 0).any():
        first = int(row[(column == 0).nonzero()[0]])
        raise ValueError(f"row {first} has a target distribution at its first position, which nothing predicts")
    return SoftTargets(row=row, column=column, ids=ids[index], weights=weights[index], starts=offsets[:-1])


def expected_log_prob(
    logits: Float[Tensor, "*batch vocabulary"],
    rows: Int64[Tensor, " positions"],
    ids: Int64[Tensor, "positions slots"],
    weights: Float[Tensor, "positions slots"],
) -> Float32[Tensor, " positions"]:
    """Mean log-probability of N targets, differentiable in the logits.

    Args:
        logits: [..., V] raw logits of the whole micro-batch, any dtype.
        rows: [N] the flattened position of ``logits`` that predicts each target.
        ids, weights: [N, K] the targets.
    """

    def score(logits: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        log_probs = candidate_log_probs(logits.float(), ids, normalise_over="vocabulary")
        mask = ids != NO_CANDIDATE
        return masked_sum(weights * finite(log_probs, mask), mask)

    # The vocabulary's logits are widened again in the backward pass rather than kept for every position.
    with torch.autocast(logits.device.type, enabled=False):
        pieces = zip(
            logits.reshape(-1, logits.shape[-1])[rows].split(POSITIONS_AT_ONCE),
            ids.split(POSITIONS_AT_ONCE),
            weights.split(POSITIONS_AT_ONCE),
            strict=True,
        )
        return torch.cat([checkpoint(score, *piece, use_reentrant=False) for piece in pieces])
