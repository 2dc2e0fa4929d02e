"""Where a response is branched: at the steps that later steps look back to most.

Positions are response positions: a branch at position p keeps the first p tokens and samples the rest anew, so the step
that begins at p is itself resampled (arXiv 2509.26628 cuts before the chosen step).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from verl_softthink.methods.attnrl.steps import Steps


def branch_points(
    influence: Tensor | Sequence[float],
    steps: Steps,
    *,
    count: int,
    quantile: float,
    spacing: int,
    eligible: Tensor | None = None,
) -> list[int]:
    """Positions at which a response is cut.

    Candidates are the steps whose influence is above zero and at least its ``quantile`` over all steps; they are taken
    in the order of their positions, each at least ``spacing`` tokens from the response's start and from the one before.
    Where that gives too few, the earliest eligible steps not yet used are added, whatever their influence and distance.
    The first step is never cut before: that would be a new response, not a branch.

    Args:
        influence: [S] of every step of the response, zeros where no branch may start; entropies do as well.
        steps: S steps.
        count: most positions wanted.
        quantile: in [0, 1].
        spacing: tokens.
        eligible: [T] bool, tokens at which a branch may start; None for all.

    Returns:
        At most ``count`` different positions, ascending; none for a response of one step.

    Raises:
        ValueError: when there is not one value per step.
    """
    values = torch.as_tensor(influence, dtype=torch.float64)
    if len(values) != len(steps):
        raise ValueError(f"influence has {len(values)} values for {len(steps)} steps; give one for every step")
    if len(steps) < 2:
        return []
    starts = steps.starts
    threshold = float(torch.quantile(values, quantile))
    chosen: list[int] = []
    last = 0
    for start, value in zip(starts, values.tolist(), strict=True):
        if len(chosen) < count and value > 0 and value >= threshold and start - last >= max(spacing, 1):
            chosen.append(start)
            last = start
    unused = [start for start in starts[1:] if start not in chosen and (eligible is None or eligible[start])]
    return sorted(chosen + unused[: count - len(chosen)])


def random_branch_points(steps: Steps, *, count: int, generator: torch.Generator) -> list[int]:
    """Steps drawn without replacement, the control for any rule: at most ``count`` positions, ascending."""
    starts = steps.starts[1:]
    order = torch.randperm(len(starts), generator=generator)[:count]
    return sorted(starts[index] for index in order.tolist())
