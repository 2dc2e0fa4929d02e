"""The score of every point, and the reward of every piece between two points.

    S = (1 - w) S_magn + w S_stab,     r_1 = S_1,     r_j = S_j - S_{j-1}

Piece j is what stands between points j - 1 and j; point 0 is the bare prompt, which nobody wrote, so it has no reward
and, as published, a score of 0 before the first piece. ``from_prompt`` sets r_1 = S_1 - S_0 instead, so that the first
piece, too, earns only what it adds.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from verl_softthink.methods.repro.magnitude import magnitude
from verl_softthink.methods.repro.stability import stability


class Scores(NamedTuple):
    """Of N responses with P points: magnitude, stability and their weighted sum, each [N, P]."""

    magnitude: Tensor
    stability: Tensor
    total: Tensor


def score(surrogate: Tensor, weight: float, decay: float | None = None) -> Scores:
    """Score all points of [N, P] mean log-likelihoods.

    Args:
        surrogate: [N, P] J in nats, padded at the end of a row with anything finite.
        weight: w, the share of stability, in [0, 1].
        decay: of the exponential average before tau, in [0, 1); None: no average.
    """
    far, steady = magnitude(surrogate), stability(surrogate, decay)
    return Scores(far, steady, (1 - weight) * far + weight * steady)


def piece_rewards(total: Tensor, counts: Tensor, from_prompt: bool = False) -> Tensor:
    """Reward of each piece.

    Args:
        total: [N, P] scores.
        counts: [N] how many points of each row are real, at least 1.
        from_prompt: whether the first piece is measured from the bare prompt's score.

    Returns:
        [N, P - 1], 0 beyond a row's last piece.
    """
    rewards = total.diff(dim=1)
    if not from_prompt and rewards.shape[1]:
        rewards = torch.cat((total[:, 1:2], rewards[:, 1:]), dim=1)
    return rewards * piece_mask(counts, rewards.shape[1])


def piece_mask(counts: Tensor, pieces: int) -> Tensor:
    """[N, pieces] bool, which pieces of each row exist, of [N] counts of points."""
    return torch.arange(1, pieces + 1, device=counts.device) < counts[:, None]
