"""Gaussian noise on the mean's weights: distribution, density, gradients, limits and unbiasedness."""

import numpy as np
import pytest
import torch
from laws.batches import normalised, ragged_batch, same_row
from oracles import quadrature
from oracles.monte_carlo import deviation, mean_and_error
from scipy.linalg import null_space
from scipy.special import softmax
from scipy.stats import kstest, multivariate_normal

from verl_softthink.laws import LAWS, NO_CANDIDATE, Action, Candidates

LAW = LAWS["gaussian_weights"]
THETA = np.array([0.9, 0.2, -0.6])


def draw(candidates: Candidates, gamma: float, seed: int = 0) -> tuple[Action, dict]:
    rows, width = candidates.ids.shape
    parameters = {"gamma": torch.full((rows,), gamma, dtype=candidates.log_probs.dtype)}
    noise = LAW.noise(torch.arange(rows), torch.full((rows,), seed), candidates, width)
    return LAW.sample(candidates, parameters, noise), parameters


def of_logits(logits: torch.Tensor) -> Candidates:
    return Candidates(ids=torch.arange(logits.shape[1]).expand(logits.shape), log_probs=logits.log_softmax(-1))


@pytest.mark.parametrize("width", [2, 3, 5])
def test_noise_is_isotropic_on_the_plane_and_gamma_long(width):
    logits = same_row(np.linspace(1, -1, width).tolist(), 20_000).double()
    action, _ = draw(of_logits(logits), gamma=0.6)
    noise = (action.values - logits.softmax(-1)).numpy()
    np.testing.assert_allclose(noise.sum(-1), 0.0, atol=1e-6)
    coordinates = noise @ null_space(np.ones((1, width)))
    assert kstest((coordinates / (0.6 / np.sqrt(width - 1))).ravel(), "norm").pvalue > 1e-3
    covariance = np.cov(coordinates.T).reshape(width - 1, width - 1)
    np.testing.assert_allclose(covariance, 0.36 / (width - 1) * np.eye(width - 1), atol=0.02)
    assert (noise**2).sum(-1).mean() == pytest.approx(0.36, rel=0.04)


def test_noise_is_keyed_by_token():
    candidates = Candidates(ids=torch.tensor([[4, 9, 2]]), log_probs=torch.tensor([[0.5, 0.3, 0.2]]).log())
    order = torch.tensor([2, 0, 1])
    shuffled = Candidates(ids=candidates.ids[:, order], log_probs=candidates.log_probs[:, order])
    torch.testing.assert_close(draw(shuffled, 1.0)[0].values, draw(candidates, 1.0)[0].values[:, order])


def test_density_is_the_normal_density_on_the_plane_but_for_its_constant():
    batch = ragged_batch(2)
    action, parameters = draw(batch.candidates, gamma=0.7)
    assert (action.values[~action.mask] == 0).all()
    sums = LAW.weights(action, parameters).sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)
    for theta in (batch.candidates.log_probs, batch.other_log_probs):
        actual = LAW.log_prob(action, theta, parameters)
        for row, used in enumerate(action.mask.sum(-1).tolist()):
            if used == 1:
                assert float(actual[row]) == 0
                continue
            basis, variance = null_space(np.ones((1, used))), 0.49 / (used - 1)
            coordinates = (action.values - theta.exp())[row, :used].numpy() @ basis
            normal = multivariate_normal(np.zeros(used - 1), variance * np.eye(used - 1))
            constant = -(used - 1) / 2 * np.log(2 * np.pi * variance)
            assert float(actual[row]) == pytest.approx(normal.logpdf(coordinates) - constant, rel=1e-6)


def test_gradcheck_and_where_only_a_token_was_fed():
    batch = ragged_batch(3, rows=12)
    action, parameters = draw(batch.candidates, gamma=0.5)

    def density(logits: torch.Tensor) -> torch.Tensor:
        return LAW.log_prob(action, normalised(logits, batch.candidates.mask), parameters)

    assert torch.autograd.gradcheck(density, batch.other_logits.clone().requires_grad_())
    slot = LAW.shown_slot(action, parameters)
    token = LAW.token_log_prob(action, slot, batch.other_log_probs, parameters)
    assert torch.equal(token, LAW.log_prob(action, batch.other_log_probs, parameters))


@pytest.mark.parametrize("gamma", [0.33, 0.0])
def test_a_certain_draw_is_the_mean_without_a_gradient(gamma):
    """A single candidate, or no noise."""
    candidates = Candidates(
        ids=torch.tensor([[7, NO_CANDIDATE]] if gamma else [[7, 3]]),
        log_probs=torch.tensor([[0.0, -torch.inf]]) if gamma else torch.tensor([[0.7, 0.3]]).log(),
    )
    action, parameters = draw(candidates, gamma)
    torch.testing.assert_close(action.values, candidates.log_probs.exp())
    leaf = torch.zeros(1, 2).requires_grad_()
    density = LAW.log_prob(action, leaf.masked_fill(~action.mask, -torch.inf), parameters)
    density.sum().backward()
    assert density.tolist() == [0.0] and (leaf.grad == 0).all()


def test_metrics_see_the_positive_weights():
    action = Action(ids=torch.tensor([[4, 2, 9]]), values=torch.tensor([[1.2, 0.4, -0.6]]))
    mixture = LAW.mixture(action, {})
    torch.testing.assert_close(mixture.weights, torch.tensor([[0.75, 0.25, 0.0]]))
    assert mixture.entropy.isfinite().all() and LAW.shown_slot(action, {}).tolist() == [0]


def smooth(weights: np.ndarray) -> np.ndarray:
    return np.sin(2 * weights[:, 0]) + weights[:, 1] * weights[:, 2] - weights[:, 2] ** 2


def expected(theta: np.ndarray, gamma: float) -> float:
    """E[smooth(w)] by Gauss-Hermite quadrature in the two dimensions of the plane."""
    nodes, mass = np.polynomial.hermite_e.hermegauss(40)
    first, second = np.meshgrid(nodes, nodes)
    at = np.stack([first.ravel(), second.ravel()], -1) * gamma / np.sqrt(2)
    weights = softmax(theta) + at @ null_space(np.ones((1, 3))).T
    return float(np.outer(mass, mass).ravel() @ smooth(weights) / mass.sum() ** 2)


@pytest.mark.parametrize("gamma", [0.33, 1.0])
def test_unbiased(gamma):
    """E[R d log p] is the gradient of E[R] in the logits."""
    rows = 300_000
    leaf = same_row(THETA.tolist(), rows).clone().requires_grad_()
    action, parameters = draw(of_logits(leaf.detach()), gamma, seed=5)
    LAW.log_prob(action, leaf.log_softmax(-1), parameters).sum().backward()
    rewards, scores = smooth(action.values.double().numpy()), leaf.grad.double().numpy()
    samples = (rewards - rewards.mean())[:, None] * scores
    truth = quadrature.gradient(lambda theta: expected(theta, gamma), THETA)
    assert np.abs(deviation(samples, truth)).max() < 3.0
    assert np.abs(deviation(samples, 0.9 * truth)).max() > 3.0


def test_the_signal_of_noise_off_the_plane_is_none():
    """The same reward of 64 more noisy coordinates, none of which the model steers: more noise, the same mean."""
    rows = 100_000
    leaf = same_row(THETA.tolist(), rows).clone().requires_grad_()
    action, parameters = draw(of_logits(leaf.detach()), 0.33, seed=5)
    LAW.log_prob(action, leaf.log_softmax(-1), parameters).sum().backward()
    on_plane = smooth(action.values.double().numpy())
    others = np.random.default_rng(0).normal(size=(rows, 64)).sum(-1) * on_plane.std()
    scores = leaf.grad.double().numpy()
    alone, beside = ((reward - reward.mean())[:, None] * scores for reward in (on_plane, on_plane + others))
    difference, error = mean_and_error(beside - alone)
    assert (np.abs(difference) < 3 * error).all()
    assert beside.var(0).sum() > 20 * alone.var(0).sum()
