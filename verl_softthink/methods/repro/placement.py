"""Rewards of pieces on tokens: each on the last token of its piece, and every token earns what comes from it on."""

import torch
from torch import Tensor


def place(rewards: Tensor, cuts: Tensor, exists: Tensor, width: int) -> Tensor:
    """Put rewards on tokens.

    Args:
        rewards: [N, P - 1] rewards of pieces.
        cuts: [N, P] rising cuts; piece j ends with response token ``cuts[:, j + 1] - 1``.
        exists: [N, P - 1] bool, which pieces are real. A zero reward is a reward: only this mask says what is padding.
        width: T, tokens of the longest response.

    Returns:
        [N, T], 0 where no piece ends.
    """
    last = (cuts[:, 1:] - 1).where(exists, 0)
    return rewards.new_zeros(len(rewards), width).scatter_add(1, last, rewards.where(exists, 0.0))


def to_go(placed: Tensor) -> Tensor:
    """[N, T]: the sum of the rewards at and after every token."""
    return placed.flip(-1).cumsum(-1).flip(-1)


def pieces_of_tokens(cuts: Tensor, width: int) -> Tensor:
    """[width] int64: the piece of one response that each token belongs to, of its [P] cuts; -1 behind the last cut."""
    tokens = torch.arange(width, device=cuts.device)
    piece = torch.searchsorted(cuts, tokens, right=True) - 1
    return piece.where(tokens < cuts[-1], -1)
