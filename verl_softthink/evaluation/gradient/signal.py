"""Signal and noise of a stochastic gradient, estimated from gradients of independent batches.

    g_1 .. g_B independent, E g = m, tr Cov g = v
    signal   |m|^2  <-  sum_{a != b} <g_a, g_b> / (B (B - 1))               products of different batches: unbiased
    noise    v      <-  (sum_b |g_b|^2 - |sum_b g_b|^2 / B) / (B - 1)       unbiased
    ratio    |m|^2 / v

The squared norm of the mean of the g_b, in place of the signal, would be too large by v / B: a gradient that is noise
alone would seem to have a ratio of 1 / B. The estimate of the signal can be negative where there is little.

The ratio is that of one batch: of batches k times as large it is k times as large. Intervals are those of the jackknife
over batches (Efron and Stein 1981) with normal quantiles; the bootstrap would put products of a batch with itself into
the signal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from verl_softthink.evaluation.bootstrap import LEVEL, Interval

#: With two, no batch could be left out.
FEWEST_BATCHES = 3
#: Coordinates that are widened to float64 at a time.
COORDINATES_AT_ONCE = 2**20


@dataclass(frozen=True)
class Signal:
    """What B batches say of a gradient.

    Attributes:
        ratio: signal over noise of one batch, with its interval; None unless two batches or more have a gradient.
        squared_mean: the signal, in squared units of the gradient.
        variance: the noise, in the same unit.
        norm: root mean square of a batch's gradient norm, as ``actor/grad_norm`` shows it.
    """

    ratio: Interval | None
    squared_mean: float
    variance: float
    norm: float


def inner_products(gradients: Sequence[Float[Tensor, " coordinates"]]) -> Float64[Tensor, "batches batches"]:
    """[B, B] inner products of B gradients, in double precision."""
    pieces = zip(*(gradient.split(COORDINATES_AT_ONCE) for gradient in gradients), strict=True)
    total = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    for piece in pieces:
        rows = torch.stack(piece).double()
        total += rows @ rows.T
    return total


def measure(products: Float64[Tensor, "batches batches"], level: float = LEVEL) -> Signal:
    """Signal and noise from inner products.

    Args:
        products: [B, B]; inner products add up over parts of the coordinates.
        level: of the interval.

    Raises:
        ValueError: from fewer than ``FEWEST_BATCHES`` batches.
    """
    batches = len(products)
    if batches < FEWEST_BATCHES:
        raise ValueError(f"{batches} batches: the variance and its interval need {FEWEST_BATCHES} or more")
    squares = products.diagonal()
    squared_mean, variance = _moments(products.sum(), squares.sum(), batches)
    norm = float(squares.mean().sqrt())
    if (squares > 0).sum() < 2:
        return Signal(None, float(squared_mean), float(variance), norm)
    # Of all batches but one: the sums without its row and column.
    left = _moments(products.sum() - 2 * products.sum(1) + squares, squares.sum() - squares, batches - 1)
    ratios = left[0] / left[1]
    deviation = ((batches - 1) * ratios.var(correction=0)).sqrt()
    ratio, half = float(squared_mean / variance), float(NormalDist().inv_cdf((1 + level) / 2) * deviation)
    return Signal(
        ratio=Interval(mean=ratio, low=ratio - half, high=ratio + half),
        squared_mean=float(squared_mean),
        variance=float(variance),
        norm=norm,
    )


def _moments(total: Tensor, squares: Tensor, batches: int) -> tuple[Tensor, Tensor]:
    """Signal and noise, given |sum g|^2 and sum |g|^2."""
    return (total - squares) / (batches * (batches - 1)), (squares - total / batches) / (batches - 1)
