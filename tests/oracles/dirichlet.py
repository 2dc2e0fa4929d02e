"""Dirichlet mixtures from their definition: SciPy's density, and Marsaglia and Tsang's loop one proposal at a time."""

import math

import numpy as np
from scipy.stats import dirichlet, norm


def log_density(weights: np.ndarray, log_probs: np.ndarray, concentration: float) -> float:
    """log p(y) of the first K - 1 weights."""
    return float(dirichlet(concentration * np.exp(log_probs)).logpdf(weights))


def log_gamma(shape: float, uniforms: np.ndarray) -> float:
    """log of one Gamma(shape) variate from pairs of uniforms and a last one, by Gamma(a) = Gamma(a + 1) U^(1/a)."""
    *proposals, boost = uniforms
    d = shape + 1.0 - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for first, second in zip(proposals[0::2], proposals[1::2], strict=True):
        x = float(norm.ppf(first))
        v = (1.0 + c * x) ** 3
        if v > 0 and math.log(second) < 0.5 * x * x + d - d * v + d * math.log(v):
            return math.log(d * v) + math.log(boost) / shape
    return math.log(d) + math.log(boost) / shape
