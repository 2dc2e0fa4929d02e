"""The references themselves, held against SciPy, PyTorch and numerical integration."""

import itertools

import numpy as np
import pytest
import torch
from oracles import concrete, gumbel, quadrature
from oracles.candidate_filter import soft_thinking_filter
from oracles.monte_carlo import deviation
from scipy.integrate import quad
from scipy.special import log_softmax, softmax
from scipy.stats import gumbel_r


def test_gumbel_density_is_scipys() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        locations = log_softmax(generator.normal(size=4) * 3)
        scale = float(generator.uniform(0.2, 3.0))
        scores = gumbel.perturbed_scores(locations, generator.gumbel(size=4), scale)
        expected = gumbel_r(loc=locations, scale=scale).logpdf(scores).sum()
        assert gumbel.log_density(scores, locations, scale) == pytest.approx(expected, rel=1e-12)


def test_concrete_density_is_pytorchs() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        locations = log_softmax(generator.normal(size=4))
        tau, scale = float(generator.uniform(0.3, 2.0)), float(generator.uniform(0.5, 2.0))
        weights = softmax((locations + scale * generator.gumbel(size=4)) / tau)
        standard = torch.distributions.RelaxedOneHotCategorical(
            torch.tensor(tau / scale, dtype=torch.float64), logits=torch.from_numpy(locations / scale)
        )
        expected = float(standard.log_prob(torch.from_numpy(weights)))
        actual = concrete.log_density_of_log_weights(np.log(weights), locations, tau, scale)
        assert actual == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_concrete_density_integrates_to_one_on_two_weights() -> None:
    locations, tau, scale = np.log([0.7, 0.3]), 0.8, 1.3

    def density(first: float) -> float:
        return np.exp(concrete.log_density_of_log_weights(np.log([first, 1.0 - first]), locations, tau, scale))

    assert quad(density, 0.0, 1.0, epsabs=1e-9)[0] == pytest.approx(1.0, abs=1e-6)


def test_concrete_density_integrates_to_one_on_three_weights() -> None:
    locations, tau, scale = np.log([0.5, 0.2, 0.3]), 1.1, 1.0

    step = 0.6
    total = 0.0
    for v in itertools.product(np.arange(-25.0, 25.0, step), repeat=2):
        log_y = log_softmax([*v, 0.0])  # dy_1 dy_2 = y_1 y_2 y_3 dv_1 dv_2
        total += step**2 * np.exp(concrete.log_density_of_log_weights(log_y, locations, tau, scale) + log_y.sum())
    assert total == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("tau, scale", [(0.1, 1.0), (1.0, 0.5), (3.0, 2.0)])
def test_score_functions_are_the_derivatives_of_the_densities(tau: float, scale: float) -> None:
    generator = np.random.default_rng(2)
    locations = log_softmax(generator.normal(size=3))
    scores = gumbel.perturbed_scores(locations, generator.gumbel(size=3), scale)
    numeric = quadrature.gradient(lambda l_i: gumbel.log_density(scores, l_i, scale), locations)
    np.testing.assert_allclose(gumbel.score_function(scores, locations, scale), numeric, rtol=1e-5, atol=1e-6)
    numeric = quadrature.gradient(lambda l_i: concrete.log_density_of_scores(scores, l_i, tau, scale), locations)
    np.testing.assert_allclose(concrete.score_function(scores, locations, scale), numeric, rtol=1e-5, atol=1e-6)


def test_concrete_score_is_the_gumbel_score_averaged_over_the_shift() -> None:
    """Given the differences g'_i - g'_j, exp(-shift) sum_i exp(l_i - g'_i) is Gamma(K): the average is exact."""
    generator = np.random.default_rng(3)
    locations = log_softmax(generator.normal(size=4))
    scores = gumbel.perturbed_scores(locations, generator.gumbel(size=4), 1.0)
    shifts = np.log(np.exp(locations - scores).sum()) - np.log(generator.gamma(shape=4, size=200_000))
    samples = gumbel.score_function(scores + shifts[:, None], locations, 1.0)
    assert np.abs(deviation(samples, concrete.score_function(scores, locations, 1.0))).max() < 3.0


def test_quadrature_returns_the_gumbel_max_probabilities_and_one() -> None:
    for probs in ([0.8, 0.2], [0.6, 0.3, 0.1]):
        locations = np.log(probs)
        assert quadrature.expected_reward(locations, 0.7, 1.0, lambda y: y.sum(-1)) == pytest.approx(1.0, abs=1e-8)
    # K = 2: g_1 - g_2 = l_1 - l_2 + logistic, so E[y_1] is a one-dimensional integral over its quantile.
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    logistic = np.log(quantiles / (1.0 - quantiles))
    direct = np.mean(1.0 / (1.0 + np.exp(-(np.log(4.0) + 1.3 * logistic) / 0.7)))
    by_grid = quadrature.expected_reward(np.log([0.8, 0.2]), 0.7, 1.3, lambda y: y[:, 0])
    assert by_grid == pytest.approx(direct, abs=1e-6)


def test_filter_by_hand() -> None:
    probs = np.array([0.05, 0.4, 0.1, 0.25, 0.2])
    outcome = soft_thinking_filter(np.log(probs), temperature=1.0, top_k=4, top_p=0.85, min_p=0.0, max_topk=5)
    # top-k drops .05: (.421, .263, .211, .105); top-p keeps the prefix that reaches .85: .421 + .263 + .211 = .895.
    assert outcome.ids == [1, 3, 4]
    np.testing.assert_allclose(np.exp(outcome.log_probs), np.array([0.4, 0.25, 0.2]) / 0.85)
    assert soft_thinking_filter(np.log(probs), 1.0, 0, 1.0, 0.45, 5).ids == [1, 3, 4]
    assert soft_thinking_filter(np.log(probs), 1.0, 0, 1.0, 0.0, 2).ids == [1, 3]
    # The order matters: without renormalising after top-k, .4 + .25 + .2 = .85 < .86 would need a fourth candidate.
    assert soft_thinking_filter(np.log(probs), 1.0, 4, 0.86, 0.0, 5).ids == [1, 3, 4]
