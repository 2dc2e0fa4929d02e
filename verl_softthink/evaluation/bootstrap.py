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
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape}: give one finite number per prompt, at least one")
    if not 0 < level < 1:
        raise ValueError(f"level={level} is not a share between 0 and 1")
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean = float(values.mean())
    # Equal values have means that differ in their last digit: the interval holds the mean all the same.
    return Interval(mean=mean, low=min(float(low), mean), high=max(float(high), mean))
