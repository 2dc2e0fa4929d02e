"""Two soft steps, the second's logits a function of the first mixture, with no back-propagation through the mixture.

The action is the drawn mixture, so its density under theta is all the estimator needs: the truth, by finite
differences under common noise, does differentiate through the first mixture, and the two agree.
"""

from functools import cache

import numpy as np
import pytest
import torch
from laws.batches import same_row
from laws.estimators import draw, score, weights_by_token
from oracles import quadrature, two_step
from oracles.monte_carlo import deviation, mean_and_error

from verl_softthink.laws import LAWS

ROWS = 150_000


@cache
def estimate(name: str, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Rewards [N] and d log p(rollout) / d theta, [N, 2, V]."""
    parameters = LAWS["gumbel"].columns(ROWS, tau=tau)
    first_logits = same_row(two_step.THETA[0].tolist(), ROWS)
    first = draw(name, first_logits, two_step.VOCABULARY, parameters, seed=2, step=0)
    y1 = weights_by_token(name, first, parameters, two_step.VOCABULARY)
    second_logits = torch.from_numpy(two_step.second_logits(two_step.THETA[1], y1)).float()  # y1 is a constant here
    second = draw(name, second_logits, two_step.VOCABULARY, parameters, seed=2, step=1)
    y2 = weights_by_token(name, second, parameters, two_step.VOCABULARY)
    scores = [score(name, first, first_logits, parameters), score(name, second, second_logits, parameters)]
    return two_step.reward(y1, y2), np.stack(scores, axis=1)


@cache
def truth(tau: float) -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(2).gumbel(size=(ROWS, 2, two_step.VOCABULARY))
    return mean_and_error(two_step.reward_gradient(two_step.THETA, noise, tau))


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_soft_rollout(tau: float) -> None:
    gradient, gradient_error = truth(tau)
    for name in ("gumbel", "concrete"):
        rewards, scores = estimate(name, tau)
        samples = (rewards - rewards.mean())[:, None, None] * scores
        assert np.abs(deviation(samples, gradient, gradient_error)).max() < 3.0
        # Leaving the second step's reward out of the first step's credit would show.
        assert np.abs(deviation(samples, 0.8 * gradient, 0.8 * gradient_error)).max() > 3.0


def test_discrete_rollout() -> None:
    gradient = quadrature.gradient(two_step.discrete_expected_reward, two_step.THETA)
    rewards, scores = estimate("discrete", 1.0)
    assert np.abs(deviation(rewards[:, None, None] * scores, gradient)).max() < 3.0


def test_released_arithmetic_is_biased() -> None:
    gradient, gradient_error = truth(0.5)
    rewards, scores = estimate("gumbel_reference", 0.5)
    samples = rewards[:, None, None] * scores
    mean, _ = mean_and_error(samples)
    factor = (gradient * mean).sum() / (gradient**2).sum()  # a mere change of learning rate is forgiven
    assert np.abs(deviation(samples, factor * gradient, factor * gradient_error)).max() > 10.0
