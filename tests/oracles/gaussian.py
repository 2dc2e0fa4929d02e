"""Gaussian soft tokens from their definition: SciPy's densities, and Gauss-Hermite quadrature for expectations."""

from collections.abc import Callable

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def mean(logits: np.ndarray, table: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / T) E, [H]."""
    return softmax(logits / temperature) @ table


def log_density(fed: np.ndarray, mean: np.ndarray, sigma: float) -> float:
    """log N(fed; mean, sigma^2 I)."""
    return float(norm(loc=mean, scale=sigma).logpdf(fed).sum())


def expected_reward(centre: np.ndarray, sigma: float, reward: Callable[[np.ndarray], np.ndarray]) -> float:
    """E[R(centre + sigma z)] for two coordinates; ``reward`` maps [M, 2] to [M]."""
    grid = np.stack(np.meshgrid(_NODES, _NODES, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.outer(_WEIGHTS, _WEIGHTS).ravel() / _WEIGHTS.sum() ** 2
    return float(weight @ reward(centre + sigma * grid))
