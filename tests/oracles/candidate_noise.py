"""Gaussian noise with the covariance of a drawn candidate: SciPy's singular normal, Gauss-Hermite quadrature."""

from collections.abc import Callable

import numpy as np
from scipy.stats import multivariate_normal

_NODES, _MASS = np.polynomial.hermite_e.hermegauss(40)


def covariance(p: np.ndarray, scale: float) -> np.ndarray:
    """scale^2 (diag p - p p^T), [K, K]."""
    return scale**2 * (np.diag(p) - np.outer(p, p))


def log_density(drawn: np.ndarray, p: np.ndarray, mean: np.ndarray, scale: float) -> float:
    """log N(drawn; mean, covariance of p) on the plane of weights that sum to 1, without its value at the mean."""
    if len(p) == 1:
        return 0.0
    normal = multivariate_normal(mean, covariance(p, scale), allow_singular=True)
    return float(normal.logpdf(drawn) - normal.logpdf(mean))


def expected_reward(mean: np.ndarray, p: np.ndarray, scale: float, reward: Callable[[np.ndarray], np.ndarray]) -> float:
    """E[R(w)] for three candidates, w normal around mean with the covariance of p; ``reward`` maps [M, 3] to [M]."""
    values, vectors = np.linalg.eigh(covariance(p, scale))
    # The smallest eigenvalue is 0: of the direction in which weights would not sum to 1.
    axes = vectors[:, 1:] * np.sqrt(values[1:])
    grid = np.stack(np.meshgrid(_NODES, _NODES, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.outer(_MASS, _MASS).ravel() / _MASS.sum() ** 2
    return float(mass @ reward(mean + grid @ axes.T))
