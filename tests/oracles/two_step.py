"""A two-step soft rollout small enough to see whole: the second step's logits depend on the first mixture.

Step 1: logits theta_1 over a vocabulary of 4; mixture y1 over all of them; input x = sum_i y1_i E[i].
Step 2: logits theta_2 + W tanh(U x); mixture y2. Reward: a smooth function of (y1, y2), or of the two argmaxes.
"""

import itertools

import numpy as np
from scipy.special import log_softmax, softmax

VOCABULARY, HIDDEN = 4, 3
_generator = np.random.default_rng(20240607)
EMBEDDING = _generator.normal(size=(VOCABULARY, HIDDEN))
INNER = _generator.normal(size=(HIDDEN, HIDDEN))
OUTER = 1.5 * _generator.normal(size=(HIDDEN, VOCABULARY))
REWARD_1 = np.array([0.3, -0.6, 1.0, 0.1])
REWARD_12 = _generator.normal(size=(VOCABULARY, VOCABULARY))
THETA = np.array([[0.9, 0.0, -2.4, 0.3], [-0.2, 0.5, 0.1, -0.4]])  # [step, vocabulary]; the third token has p = .02


def second_logits(theta_2: np.ndarray, y1: np.ndarray) -> np.ndarray:
    """[M, VOCABULARY] from the first mixtures [M, VOCABULARY]."""
    return theta_2 + np.tanh(y1 @ EMBEDDING @ INNER) @ OUTER


def reward(y1: np.ndarray, y2: np.ndarray) -> np.ndarray:
    """y1 . r + (y1 R y2) + (y1 . r)^2: smooth, and it couples the steps, [M]."""
    first = y1 @ REWARD_1
    return first + np.einsum("mi,ij,mj->m", y1, REWARD_12, y2) + first**2


def rollout_reward(theta: np.ndarray, noise: np.ndarray, tau: float) -> np.ndarray:
    """Rewards [M] of the whole rollout under common noise [M, 2, VOCABULARY], noise scale 1."""
    y1 = softmax((log_softmax(theta[0]) + noise[:, 0]) / tau, axis=-1)
    y2 = softmax((log_softmax(second_logits(theta[1], y1), axis=-1) + noise[:, 1]) / tau, axis=-1)
    return reward(y1, y2)


def reward_gradient(theta: np.ndarray, noise: np.ndarray, tau: float, step: float = 1e-4) -> np.ndarray:
    """Central differences under common noise, per sample, [M, 2, VOCABULARY]; its mean is the gradient of E[reward]."""
    result = np.zeros((noise.shape[0], *theta.shape))
    for index in itertools.product(*[range(n) for n in theta.shape]):
        shift = np.zeros_like(theta)
        shift[index] = step
        ahead, behind = rollout_reward(theta + shift, noise, tau), rollout_reward(theta - shift, noise, tau)
        result[(slice(None), *index)] = (ahead - behind) / (2.0 * step)
    return result


def discrete_expected_reward(theta: np.ndarray) -> float:
    """E[reward] when both steps take one token with weight 1: the sum over the 16 paths."""
    total = 0.0
    one_hot = np.eye(VOCABULARY)
    p1 = softmax(theta[0])
    for i in range(VOCABULARY):
        p2 = softmax(second_logits(theta[1], one_hot[i : i + 1])[0])
        for j in range(VOCABULARY):
            total += p1[i] * p2[j] * float(reward(one_hot[i : i + 1], one_hot[j : j + 1])[0])
    return total
