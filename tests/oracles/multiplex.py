"""Multiplex mixtures by their definition, token by token."""

import itertools
from collections.abc import Callable

import numpy as np


def token_weights(draws: list[int], probs: np.ndarray, by_probability: bool) -> dict[int, float]:
    """Weight of every distinct token drawn."""
    if not by_probability:
        return {token: draws.count(token) / len(draws) for token in draws}
    total = sum(probs[token] for token in set(draws))
    return {token: probs[token] / total for token in draws}


def shown(draws: list[int], probs: np.ndarray, by_probability: bool) -> int:
    """The heaviest token, the first drawn among equals."""
    weights = token_weights(draws, probs, by_probability)
    return max(draws, key=lambda token: (weights[token], -draws.index(token)))


def expected_reward(probs: np.ndarray, count: int, reward: Callable[[tuple[int, ...]], float]) -> float:
    """E[R(k_1 .. k_K)] by enumeration."""
    outcomes = itertools.product(range(len(probs)), repeat=count)
    return sum(float(np.prod(probs[list(draws)])) * reward(draws) for draws in outcomes)
