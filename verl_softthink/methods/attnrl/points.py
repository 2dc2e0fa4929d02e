"""Where a response is branched.

By attention (AttnRL, arXiv 2509.26628), before the steps that later steps attend to most; by entropy (TreeRL, arXiv
2506.11902), before the tokens at which the policy was least certain.

A branch at response position p keeps the first p tokens and resamples the rest, so the step or token that begins at p
is itself resampled. No branch starts at position 0: that would be a new response.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl_softthink.methods.attnrl.steps import Steps


def branch_points(
    influence: Float[Tensor, " S"],
    steps: Steps,
    *,
    count: int,
    quantile: float,
    spacing: int,
    eligible: Bool[Tensor, " T"] | None = None,
) -> list[int]:
    """Branch points by attention.

    Candidates are the steps whose influence is positive and at least the ``quantile`` over all steps. They are taken
    from left to right, each at least ``spacing`` tokens after the start of the response and after the previous one.
    If too few remain, the earliest eligible steps not yet taken fill up, whatever their influence and spacing.

    Args:
        influence: [S] of every step of the response, zero where no branch may start.
        steps: the S steps.
        count: number of points wanted.
        quantile: in [0, 1].
        spacing: tokens.
        eligible: [T] bool, tokens at which a branch may start; None for all.

    Returns:
        At most ``count`` distinct positions, ascending; none for a response of one step.

    Raises:
        ValueError: there is not one value per step.
    """
    if len(influence) != len(steps):
        raise ValueError(f"influence has {len(influence)} values for {len(steps)} steps; give one for every step")
    if len(steps) < 2:
        return []
    values = influence.double()
    threshold = float(torch.quantile(values, quantile))
    chosen: list[int] = []
    last = 0
    for start, value in zip(steps.starts, values.tolist(), strict=True):
        if len(chosen) < count and value > 0 and value >= threshold and start - last >= max(spacing, 1):
            chosen.append(start)
            last = start
    unused = [start for start in steps.starts[1:] if start not in chosen and (eligible is None or eligible[start])]
    return sorted(chosen + unused[: count - len(chosen)])


def entropy_branch_points(entropy: Float[Tensor, " T"], eligible: Bool[Tensor, " T"], *, count: int) -> list[int]:
    """Branch points by entropy: the positions with the highest, the earlier one first where two are equal.

    Args:
        entropy: [T] nats of the next-token distribution that each response token was drawn from.
        eligible: [T] bool, tokens at which a branch may start.
        count: number of points wanted.

    Returns:
        At most ``count`` distinct positions, ascending.
    """
    allowed = eligible.clone()
    allowed[:1] = False
    positions = allowed.nonzero()[:, 0]
    best = torch.argsort(entropy[positions], descending=True, stable=True)[:count]
    return sorted(positions[best].tolist())
