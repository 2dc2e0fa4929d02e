"""The arithmetic of SofT-GRPO's released code where it departs from its paper (section 4, items 1, 2).

eps and delta = g' - l are clamped to [-1.5, 3], l = log(p~ + 1e-6), and the sum over candidates is a mean over those
with l_i(theta) > -3.
"""

import math

import numpy as np

NOISE_LOW, NOISE_HIGH = -1.5, 3.0
PROBABILITY_OFFSET = 1e-6
SCORED_ABOVE = -3.0


def perturbed_scores(probs: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """g'_i = log(p~_i + 1e-6) + clamp(eps_i), shape [K], at noise scale 1."""
    clamped = [min(max(e, NOISE_LOW), NOISE_HIGH) for e in noise]
    return np.array([math.log(p + PROBABILITY_OFFSET) + e for p, e in zip(probs, clamped, strict=True)])


def log_density(scores: np.ndarray, probs: np.ndarray) -> float:
    """Masked mean over candidates of -d - exp(-d), d = clamp(g' - log(p~ + 1e-6)), at noise scale 1."""
    terms = []
    for g, p in zip(scores, probs, strict=True):
        location = math.log(p + PROBABILITY_OFFSET)
        delta = min(max(g - location, NOISE_LOW), NOISE_HIGH)
        if location > SCORED_ABOVE:
            terms.append(-delta - math.exp(-delta))
    return sum(terms) / len(terms)
