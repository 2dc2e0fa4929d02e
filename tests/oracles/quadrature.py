"""Expectations over Gumbel noise by quadrature, from the sampling rule alone: no density of any law enters."""

import itertools
from collections.abc import Callable

import numpy as np
from scipy.special import softmax

# exp(-e - exp(-e)) is below 1e-13 outside [-4, 30]. The trapezoid rule converges geometrically on it; for a reward
# smooth in softmax(g / tau) with tau / s >= 0.5 a step of 0.4 leaves about 1e-9 (the noise density is the wider error).
NOISE_LOW, NOISE_HIGH, STEP = -4.0, 30.0, 0.4


def expected_reward(
    log_probs: np.ndarray, tau: float, noise_scale: float, reward: Callable[[np.ndarray], np.ndarray]
) -> float:
    """E[reward(softmax((l + s eps) / tau))] for K = 2 or 3 candidates; ``reward`` maps [M, K] to [M]."""
    nodes = np.arange(NOISE_LOW, NOISE_HIGH, STEP)
    mass = STEP * np.exp(-nodes - np.exp(-nodes))
    grids = np.meshgrid(*[nodes] * len(log_probs), indexing="ij")
    noise = np.stack([grid.ravel() for grid in grids], axis=-1)
    weight = np.prod(np.stack([grid.ravel() for grid in np.meshgrid(*[mass] * len(log_probs), indexing="ij")]), axis=0)
    y = softmax((np.asarray(log_probs) + noise_scale * noise) / tau, axis=-1)
    return float(np.sum(weight * reward(y)))


def gradient(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Central differences, one coordinate at a time."""
    result = np.zeros_like(at, dtype=np.float64)
    for index in itertools.product(*[range(n) for n in at.shape]):
        shift = np.zeros_like(result)
        shift[index] = step
        result[index] = (function(at + shift) - function(at - shift)) / (2.0 * step)
    return result
