"""Concrete / Gumbel-Softmax density (Maddison et al. 2017; Jang et al. 2017) of y = softmax((l + s eps) / tau).

Dividing numerator and denominator by s gives the standard form with locations l / s and temperature tau / s.
The base measure is Lebesgue on the first K - 1 weights.
"""

import math

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax


def log_density_of_log_weights(log_y: np.ndarray, log_probs: np.ndarray, tau: float, noise_scale: float) -> float:
    """log p(y) from log y, so that weights too small for a float still have a density.

    log Gamma(K) + (K-1) log t + sum_i (a_i - (t+1) log y_i) - K logsumexp_i (a_i - t log y_i), a = l/s, t = tau/s.
    """
    locations = np.asarray(log_probs, dtype=np.float64) / noise_scale
    temperature = tau / noise_scale
    count = len(locations)
    total = math.lgamma(count) + (count - 1) * math.log(temperature)
    for a, log_weight in zip(locations, log_y, strict=True):
        total += a - (temperature + 1.0) * log_weight
    return float(total - count * logsumexp(locations - temperature * np.asarray(log_y)))


def log_density_of_scores(scores: np.ndarray, log_probs: np.ndarray, tau: float, noise_scale: float) -> float:
    """The same density at y = softmax(g' / tau)."""
    return log_density_of_log_weights(log_softmax(np.asarray(scores) / tau), log_probs, tau, noise_scale)


def score_function(scores: np.ndarray, log_probs: np.ndarray, noise_scale: float) -> np.ndarray:
    """d log p(y) / d l_i = (1 - K softmax((l - g') / s)_i) / s, shape [K]."""
    ratio = softmax((np.asarray(log_probs) - scores) / noise_scale)
    return (1.0 - len(ratio) * ratio) / noise_scale
