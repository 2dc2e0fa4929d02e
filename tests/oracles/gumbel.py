"""SofT-GRPO's Gumbel scores (arXiv 2511.06411, Eq. 9, 11, 12), one row at a time, with a noise scale s.

The scores are g' = l + s eps.
"""

import math

import numpy as np
from scipy.special import logsumexp, softmax


def perturbed_scores(log_probs: np.ndarray, noise: np.ndarray, noise_scale: float) -> np.ndarray:
    """g'_i = l_i + s eps_i, shape [K]."""
    return np.array([location + noise_scale * e for location, e in zip(log_probs, noise, strict=True)])


def mixture_weights(scores: np.ndarray, tau: float) -> np.ndarray:
    """y = softmax(g' / tau), shape [K]."""
    return softmax(np.asarray(scores, dtype=np.float64) / tau)


def log_density(scores: np.ndarray, log_probs: np.ndarray, noise_scale: float) -> float:
    """log prod_i Gumbel(g'_i; location l_i, scale s). Underflows to -inf only where the density itself does."""
    total = 0.0
    for g, location in zip(scores, log_probs, strict=True):
        z = (g - location) / noise_scale
        total += -math.log(noise_scale) - z - float(np.exp(-z))
    return total


def score_function(scores: np.ndarray, log_probs: np.ndarray, noise_scale: float) -> np.ndarray:
    """d log density / d l_i = (1 - exp(-(g'_i - l_i) / s)) / s, shape [K]."""
    return (1.0 - np.exp(-(np.asarray(scores) - log_probs) / noise_scale)) / noise_scale


def argmax_log_probs(log_probs: np.ndarray, noise_scale: float) -> np.ndarray:
    """Gumbel-max: log P(argmax_i (l_i + s eps_i) = i) = log softmax(l / s)_i, whatever tau, shape [K]."""
    scaled = np.asarray(log_probs, dtype=np.float64) / noise_scale
    return scaled - logsumexp(scaled)


def kl(log_probs: np.ndarray, reference_log_probs: np.ndarray, noise_scale: float) -> float:
    """KL(Gumbel(l) || Gumbel(l_ref)) = sum_i (D_i - 1 + exp(-D_i)), D = (l - l_ref) / s (section 5, iv)."""
    difference = (np.asarray(log_probs) - reference_log_probs) / noise_scale
    return float(np.sum(difference - 1.0 + np.exp(-difference)))
