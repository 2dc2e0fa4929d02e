"""E[R d log p] is the gradient of E[R]: one step, a vocabulary of five, three or two candidates.

The truth comes from the sampling rule by quadrature and finite differences; the estimate from the package's rollout
and likelihood. Three standard errors, fixed seeds.
"""

from functools import cache

import numpy as np
import pytest
import torch
from laws.batches import same_row
from laws.estimators import draw, score, shown_tokens, weights_by_token
from oracles import gumbel_reference, quadrature
from oracles.monte_carlo import deviation, mean_and_error
from scipy.special import log_softmax, softmax

from verl_softthink.laws import LAWS

THETA = (0.9, 0.5, 0.0, -1.5, -2.0)  # sorted: the candidates are the first ``width`` ids
WITH_TAIL = (1.5, 0.5, -1.6, -3.0, -3.0)  # the third candidate has p = .03, below the released code's exp(-3)
BY_TOKEN = np.array([1.0, -0.4, 0.6, 0.0, 0.0])
ROWS = 300_000
TAU_AND_SCALE = [(0.5, 1.0), (1.0, 0.7), (1.5, 1.6)]


def smooth(y: np.ndarray) -> np.ndarray:
    """[M, K] weights of the first K ids to [M] rewards."""
    linear = y @ BY_TOKEN[: y.shape[1]]
    return np.sin(2.0 * linear) + 0.5 * linear**2 - y[:, 0] * y[:, 1]


@cache
def smooth_gradient(tau: float, scale: float, width: int, at: tuple[float, ...] = THETA) -> np.ndarray:
    def expected(theta: np.ndarray) -> float:
        return quadrature.expected_reward(log_softmax(theta[:width]), tau, scale, smooth)

    return quadrature.gradient(expected, np.array(at))


@cache
def estimate(
    name: str, tau: float, scale: float, width: int, reward: str = "smooth", at: tuple[float, ...] = THETA
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards [N] and scores d log p / d theta [N, V]."""
    logits = same_row(list(at), ROWS)
    parameters = LAWS["gumbel"].columns(ROWS, tau=tau, noise_scale=scale)
    action = draw(name, logits, width, parameters, seed=5)
    if reward == "smooth":
        rewards = smooth(weights_by_token(name, action, parameters, len(THETA))[:, :width])
    else:
        rewards = BY_TOKEN[shown_tokens(name, action, parameters)]
    return rewards, score(name, action, logits, parameters)


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("tau, scale", TAU_AND_SCALE)
@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_reward_of_the_weights(name: str, tau: float, scale: float, width: int) -> None:
    truth = smooth_gradient(tau, scale, width)
    rewards, scores = estimate(name, tau, scale, width)
    assert np.abs(deviation(rewards[:, None] * scores, truth)).max() < 3.0
    assert np.abs(deviation(scores, np.zeros(5))).max() < 3.0  # a baseline adds no bias
    # The estimate is sharp enough to notice a tenth of the truth.
    assert np.abs(deviation(rewards[:, None] * scores, 0.9 * truth)).max() > 3.0


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_reward_of_the_shown_token(name: str, scale: float) -> None:
    """P(argmax = i) = softmax(l / s)_i, so the truth is a softmax's derivative."""

    def expected(theta: np.ndarray) -> float:
        return float(softmax(theta[:3] / scale) @ BY_TOKEN[:3])

    rewards, scores = estimate(name, 0.1, scale, 3, reward="shown")
    assert np.abs(deviation(rewards[:, None] * scores, quadrature.gradient(expected, np.array(THETA)))).max() < 3.0


def test_discrete_law() -> None:
    truth = quadrature.gradient(lambda theta: float(softmax(theta) @ BY_TOKEN), np.array(THETA))
    rewards, scores = estimate("discrete", 1.0, 1.0, 5, reward="shown")
    assert np.abs(deviation(rewards[:, None] * scores, truth)).max() < 3.0


def test_released_arithmetic_is_biased() -> None:
    """Control: against the gradient of its own clamped rollout's reward, and not by a mere factor."""
    tau, width, step, theta = 0.5, 3, 1e-4, np.array(WITH_TAIL)
    noise = np.random.default_rng(0).gumbel(size=(ROWS, width))
    clamped = np.clip(noise, gumbel_reference.NOISE_LOW, gumbel_reference.NOISE_HIGH)

    def rewards_under(theta: np.ndarray) -> np.ndarray:
        locations = np.log(softmax(theta[:width]) + gumbel_reference.PROBABILITY_OFFSET)
        return smooth(softmax((locations + clamped) / tau, axis=-1))

    steps = step * np.eye(5)
    per_sample = np.stack([(rewards_under(theta + d) - rewards_under(theta - d)) / (2 * step) for d in steps], axis=-1)
    truth, truth_error = mean_and_error(per_sample)
    rewards, scores = estimate("gumbel_reference", tau, 1.0, width, at=WITH_TAIL)
    samples = rewards[:, None] * scores
    mean, _ = mean_and_error(samples)
    assert np.abs(deviation(samples, truth, truth_error)).max() > 10.0
    factor = (truth * mean).sum() / (truth**2).sum()
    assert np.abs(deviation(samples, factor * truth, factor * truth_error)).max() > 10.0
    # The same comparison, made with the exact law, holds.
    exact_rewards, exact_scores = estimate("gumbel", tau, 1.0, width, at=WITH_TAIL)
    exact = smooth_gradient(tau, 1.0, width, at=WITH_TAIL)
    assert np.abs(deviation(exact_rewards[:, None] * exact_scores, exact)).max() < 3.0


@pytest.mark.parametrize("baseline", ["none", "mean reward"])
@pytest.mark.parametrize("tau, scale", TAU_AND_SCALE)
def test_concrete_is_never_the_noisier(tau: float, scale: float, baseline: str) -> None:
    """Its score is the Gumbel score averaged over what the weights discard (Rao-Blackwell), with any reward of them."""
    rewards, by_weights = estimate("concrete", tau, scale, 3)
    same_rewards, by_scores = estimate("gumbel", tau, scale, 3)
    np.testing.assert_array_equal(rewards, same_rewards)  # one draw, two densities
    centred = rewards - (rewards.mean() if baseline == "mean reward" else 0.0)
    squares = (centred[:, None] ** 2 * (by_scores**2 - by_weights**2))[:, :3]
    excess, error = mean_and_error(squares)
    assert (excess > 3.0 * error).all()
    variance = [np.var(centred[:, None] * s, axis=0).sum() for s in (by_weights, by_scores)]
    assert variance[0] < variance[1]


@pytest.mark.parametrize("drawn_over", ["vocabulary", "candidates"])
@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_scores_normalised_over_the_vocabulary(name: str, drawn_over: str) -> None:
    """The weights' density does not see the constant between the two normalisations. The scores' does: it is unbiased
    when the draw was centred on the same l, and of another draw (a score of mean not 0) when it was not."""
    tau, scale, width = 1.0, 0.7, 3
    logits, parameters = same_row(list(THETA), ROWS), LAWS["gumbel"].columns(ROWS, tau=tau, noise_scale=scale)
    action = draw(name, logits, width, parameters, seed=5, normalise_over=drawn_over)
    rewards = smooth(weights_by_token(name, action, parameters, len(THETA))[:, :width])
    scores = score(name, action, logits, parameters, normalise_over="vocabulary")
    if name == "concrete":
        np.testing.assert_allclose(scores, estimate(name, tau, scale, width)[1], atol=1e-5)
        return
    worst = np.abs(deviation(rewards[:, None] * scores, smooth_gradient(tau, scale, width))).max()
    assert worst < 3.0 if drawn_over == "vocabulary" else worst > 10.0


def test_tokens_outside_the_candidates_get_no_gradient() -> None:
    _, scores = estimate("gumbel", 0.5, 1.0, 3)
    assert (scores[:, 3:] == 0).all()
    assert torch.isfinite(torch.from_numpy(scores)).all()
