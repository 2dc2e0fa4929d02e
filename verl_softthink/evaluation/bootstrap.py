"""Confidence intervals of a mean over prompts, by the percentile bootstrap (Efron 1979).

Prompts are drawn again with replacement: they are the population that a benchmark stands for, and the responses to one
prompt depend on each other through it. Drawing responses instead would give intervals that are too narrow.
"""

from dataclasses import dataclass

import numpy as np

#: Resamples: the ends of a 95 % interval then vary by about 2 % of its width from seed to seed.
RESAMPLES = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: np.ndarray, *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """Mean over prompts with its interval; equal for equal arguments.

    Args:
        values: [P] float, one estimate per prompt.
        seed: of the resampling.
        level: share of the resampled means inside the interval.

    Raises:
        ValueError: without values, with values that are not finite, or with a level outside (0, 1).
    """
    return bootstrap_ratio(values, np.ones(np.shape(values)), seed=seed, level=level, resamples=resamples)


def bootstrap_ratio(
    totals: np.ndarray, counts: np.ndarray, *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Mean over what the prompts hold, such as their positions, with its interval: sum of totals over sum of counts.

    Args:
        totals: [P] float, sum over each prompt's.
        counts: [P] how many each prompt has; prompts with none are left out.
        seed, level, resamples: as in ``bootstrap_mean``.

    Raises:
        ValueError: as ``bootstrap_mean``, and when no prompt has any.
    """
    totals, counts = np.asarray(totals, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if totals.ndim != 1 or not counts.any() or not np.isfinite(totals).all():
        raise ValueError(f"values of shape {totals.shape}: give one finite number per prompt, at least one")
    if not 0 < level < 1:
        raise ValueError(f"level={level} is not a share between 0 and 1")
    totals, counts = totals[counts > 0], counts[counts > 0]
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(totals), size=len(totals)) for _ in range(resamples))
    means = [totals[drawn].sum() / counts[drawn].sum() for drawn in draws]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = float(totals.sum() / counts.sum())
    # Equal values have means that differ in their last digit: the interval holds the mean all the same.
    return Interval(mean=mean, low=min(float(low), mean), high=max(float(high), mean))


def unseen(prompts: int, level: float = LEVEL) -> float:
    """The largest share of all prompts that none of so many is likely to show: 1 - ((1 - level) / 2)^(1 / P).

    Where every prompt gives the same value, the bootstrap's interval has no width, however few they are. This is the
    width that the exact interval of a proportion (Clopper and Pearson 1934) has there.
    """
    return 1 - ((1 - level) / 2) ** (1 / prompts)


def bootstrap_share(values: np.ndarray, *, least: float = 0.0, seed: int) -> Interval:
    """``bootstrap_mean`` of values between ``least`` and 1, at no end closer to the mean than ``unseen``."""
    interval, width = bootstrap_mean(values, seed=seed), unseen(len(values))
    return Interval(
        mean=interval.mean,
        low=max(least, min(interval.low, interval.mean - width)),
        high=min(1.0, max(interval.high, interval.mean + width)),
    )
