"""Branching by entropy, as in TreeRL (arXiv 2506.11902): before the tokens at which the policy was least certain."""

import torch
from torch import Tensor


def entropy_branch_points(entropy: Tensor, eligible: Tensor, *, count: int) -> list[int]:
    """The positions of the largest entropies.

    Args:
        entropy: [T] nats of the next-token distribution that each response token was drawn from.
        eligible: [T] bool, tokens at which a branch may start; the first token never counts.
        count: most positions wanted.

    Returns:
        Different positions, ascending; fewer than ``count`` where fewer are eligible.
    """
    allowed = eligible.clone()
    allowed[:1] = False
    positions = allowed.nonzero()[:, 0]
    best = torch.argsort(entropy[positions], descending=True, stable=True)[:count]
    return sorted(positions[best].tolist())
