"""Weights within the K traces of one question: w = rho / sum rho, from logarithms, for groups of any sizes.

A group is named by an integer; N rows of G groups carry ``group`` [N] int64 in [0, G). A group in which every weight is
zero has nothing to teach and gets weights of exactly zero.
"""

import torch
from torch import Tensor


def self_normalise(log_weights: Tensor, group: Tensor) -> Tensor:
    """Softmax within each group; zeros in a group whose log-weights are all -inf.

    Args:
        log_weights: [N] log rho, any common offset within a group; -inf for no weight.
        group: [N] int64.

    Returns:
        [N], the dtype of ``log_weights``; the sum of every group is 1 or 0.

    Raises:
        ValueError: a log-weight that is NaN or +inf.
    """
    if (log_weights.isnan() | (log_weights == float("inf"))).any():
        raise ValueError(
            "a log-weight is NaN or +inf: the log-probabilities of its trace are not finite; look at the rollout's and "
            "the actor's precision"
        )
    largest = _per_group(log_weights, group, "amax", float("-inf"))
    # In a group without weight any finite offset does: its exponentials stay zero.
    largest = largest.masked_fill(largest == float("-inf"), 0.0)
    weights = (log_weights - largest[group]).exp()
    totals = _per_group(weights, group, "sum", 0.0)
    return weights / totals.masked_fill(totals == 0, 1.0)[group]


def effective_sample_size(weights: Tensor, group: Tensor) -> Tensor:
    """[G] 1 / sum w^2 of self-normalised weights [N], between 1 and the group's size; 0 for a group without weight."""
    squares = _per_group(weights.square(), group, "sum", 0.0)
    return torch.where(squares > 0, 1 / squares, torch.zeros_like(squares))


def group_sizes(group: Tensor) -> Tensor:
    """[G] rows of each group."""
    return torch.bincount(group)


def _per_group(values: Tensor, group: Tensor, reduce: str, initial: float) -> Tensor:
    reduced = torch.full((int(group.max()) + 1,), initial, dtype=values.dtype, device=values.device)
    return reduced.scatter_reduce(0, group, values, reduce=reduce)
