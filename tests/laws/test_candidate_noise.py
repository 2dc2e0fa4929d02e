"""Gaussian noise among the candidates: distribution, density, gradients, limits and unbiasedness."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from laws.batches import ragged_batch, same_row
from oracles import candidate_noise as oracle
from oracles import quadrature
from oracles.monte_carlo import deviation
from scipy.special import softmax
from scipy.stats import kstest

from verl_softthink.laws import LAWS, NO_CANDIDATE, Action, Candidates
from verl_softthink.laws.candidate_noise import drawn_weights, perturbed_weights, weight_noise, weights_log_density

LAW = LAWS["gaussian"]
VALUES = {parameter.name: parameter.default for parameter in LAW.parameters}
THETA = np.array([1.1, 0.2, -0.9])


def draw(p: torch.Tensor, scale: float, seed: int = 0) -> torch.Tensor:
    rows, width = p.shape
    noise = weight_noise(torch.arange(rows), torch.full((rows,), seed), torch.arange(width).expand(rows, width))
    return perturbed_weights(p, torch.full((rows,), scale, dtype=p.dtype), noise.to(p.dtype))


@pytest.mark.parametrize("width", [2, 3, 6])
def test_mean_and_covariance_are_those_of_a_drawn_token(width):
    p = same_row(np.linspace(1.5, -1.5, width).tolist(), 200_000).double().softmax(-1)
    drawn, row = draw(p, 0.7).numpy(), p[0].numpy()
    np.testing.assert_allclose(drawn.sum(-1), 1.0, atol=1e-9)
    np.testing.assert_allclose(drawn.mean(0), row, atol=0.005)
    np.testing.assert_allclose(np.cov(drawn.T), 0.49 * (np.diag(row) - np.outer(row, row)), atol=0.002)
    for weights, mean in zip(drawn.T, row, strict=True):
        assert kstest((weights - mean) / (0.7 * np.sqrt(mean * (1 - mean))), "norm").pvalue > 1e-3


def test_density_is_the_normal_density_on_the_plane_but_for_its_constant():
    batch = ragged_batch(2)
    p, mask = batch.candidates.log_probs.exp(), batch.candidates.mask
    scale = torch.full((len(p),), 0.6, dtype=p.dtype)
    drawn = perturbed_weights(p, scale, torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).double())
    assert (drawn[~mask] == 0).all()
    for scored in (p, batch.other_log_probs.exp()):
        actual = weights_log_density(drawn, p, scored, scale)
        for row, used in enumerate(mask.sum(-1).tolist()):
            expected = oracle.log_density(*(each[row, :used].numpy() for each in (drawn, p, scored)), 0.6)
            assert float(actual[row]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_score_is_a_drawn_tokens_with_the_weights_in_place_of_one_hot_ones():
    leaf = torch.randn(64, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    p = leaf.softmax(-1)
    weights, scale = draw(p.detach(), 0.4), torch.full((64,), 0.4, dtype=torch.float64)
    (score,) = torch.autograd.grad(weights_log_density(weights, p.detach(), p, scale).sum(), leaf)
    (token,) = torch.autograd.grad((weights * leaf.log_softmax(-1)).sum() / 0.4**2, leaf)
    torch.testing.assert_close(score, token)

    def density(logits):
        return weights_log_density(weights, p.detach(), logits.softmax(-1), scale)

    other = torch.randn(64, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.autograd.gradcheck(density, other.requires_grad_())


@pytest.mark.parametrize("smallest", [1e-30, 1e-44, 0.0])
def test_however_unlikely_a_candidate_score_and_density_are_finite(smallest):
    p = torch.tensor([[1.0, smallest]])
    drawn, leaf = draw(p, 1.0), p.log().clamp(min=-200).requires_grad_()
    density = weights_log_density(drawn, p, leaf.exp(), torch.ones(1))
    density.sum().backward()
    assert density.isfinite().all() and leaf.grad.isfinite().all()


def actions(rows: int, width: int, gamma: float) -> tuple[Action, dict]:
    logits = torch.randn(rows, width, generator=torch.Generator().manual_seed(4))
    candidates = Candidates(ids=torch.arange(width).expand(rows, width), log_probs=logits.log_softmax(-1))
    parameters = LAW.columns(rows, covariance="candidates", gamma=gamma)
    action = LAW.sample(candidates, parameters, torch.zeros(rows, width))
    return replace(action, scale=torch.full((rows,), gamma)), parameters


def test_rows_with_and_without_it_share_a_batch():
    action, among = actions(6, 4, 0.8)
    isotropic = LAW.columns(6, gamma=0.8)
    half = torch.arange(6) < 3
    mixed = {name: torch.where(half, among[name], isotropic[name]) for name in among}
    seed, index = torch.arange(6), torch.arange(6) + 9
    drawn, mean = drawn_weights(action, seed, index, mixed), LAW.weights(action, mixed)
    assert torch.equal(drawn[~half], mean[~half])
    assert ((drawn - mean)[half].abs().amax(-1) > 0.01).all()
    # A function of its counters: alone, and in another order of the candidates, the same.
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Action(ids=action.ids[1:2, order], values=action.values[1:2, order], scale=action.scale[1:2])
    alone = drawn_weights(shuffled, seed[1:2], index[1:2], LAW.columns(1, covariance="candidates", gamma=0.8))
    torch.testing.assert_close(alone, drawn[1:2, order])


def test_a_certain_draw_is_the_mean_without_a_gradient():
    """A single candidate, no candidate, or no noise."""
    ids = torch.tensor([[7, NO_CANDIDATE], [NO_CANDIDATE, NO_CANDIDATE], [7, 3]])
    values, scale = torch.tensor([[0.0, 0.0], [0.0, 0.0], [-0.5, -0.9]]), torch.tensor([1.0, 1.0, 0.0])
    action, parameters = Action(ids=ids, values=values, scale=scale), LAW.columns(3, covariance="candidates")
    drawn = drawn_weights(action, torch.arange(3), torch.arange(3), parameters)
    mean = LAW.weights(action, parameters)
    torch.testing.assert_close(drawn, mean)
    assert drawn[0].tolist() == [1, 0] and drawn[1].tolist() == [0, 0]
    leaf = values.clone().requires_grad_()
    scored = leaf.masked_fill(ids == NO_CANDIDATE, -torch.inf).masked_fill((ids < 0).all(-1, keepdim=True), 0.0)
    density = weights_log_density(drawn, mean, scored.softmax(-1), scale)
    density.sum().backward()
    assert density.tolist() == [0.0, 0.0, 0.0] and (leaf.grad == 0).all()


@pytest.mark.parametrize(
    ("changes", "normalise_over"), [({}, "candidates"), ({"fed": "seed"}, "vocabulary"), ({}, "vocabulary")]
)
def test_what_it_needs_is_said(changes, normalise_over):
    values = VALUES | {"covariance": "candidates"} | changes
    assert "set law.fed=seed and law.normalise_over=candidates" in LAW.problem(values, normalise_over)
    assert LAW.problem(values | {"fed": "seed"}, "candidates") is None
    assert LAW.draws_weights(values) and not LAW.draws_weights(VALUES)


def smooth(weights: np.ndarray) -> np.ndarray:
    return np.sin(3 * weights[:, 0]) + weights[:, 1] * weights[:, 2] - weights[:, 2] ** 2


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_unbiased_for_the_mean_with_the_noise_held(scale):
    """E[R d log p] is the gradient of E[R] in the mean's logits, the covariance being that of the draw."""
    rows = 300_000
    leaf = same_row(THETA.tolist(), rows).requires_grad_()
    p = leaf.detach().softmax(-1)
    drawn, column = draw(p, scale, seed=5), torch.full((rows,), scale)
    weights_log_density(drawn, p, leaf.softmax(-1), column).sum().backward()
    rewards, scores = smooth(drawn.double().numpy()), leaf.grad.double().numpy()
    samples = (rewards - rewards.mean())[:, None] * scores
    held = softmax(THETA)

    def expected(theta: np.ndarray) -> float:
        return oracle.expected_reward(softmax(theta), held, scale, smooth)

    truth = quadrature.gradient(expected, THETA)
    assert np.abs(deviation(samples, truth)).max() < 3.0
    assert np.abs(deviation(samples, 0.9 * truth)).max() > 3.0
    # With the covariance moving along the gradient is another: what is held is no small part.
    moving = quadrature.gradient(
        lambda theta: oracle.expected_reward(softmax(theta), softmax(theta), scale, smooth), THETA
    )
    assert np.abs(deviation(samples, moving)).max() > 3.0


@pytest.mark.parametrize(("scale", "missing", "direction"), [(0.5, 0.2, 0.99), (1.0, 0.45, 0.97)])
def test_what_the_held_covariance_costs(scale, missing, direction):
    """Medians over random rewards: the share of the law's gradient that the score leaves out, and the cosine to it."""
    rng = np.random.default_rng(0)
    shares, cosines = [], []
    for _ in range(60):
        theta, (first, second), bend = 1.5 * rng.normal(size=3), rng.normal(size=(2, 3)), rng.normal(size=(3, 3))

        def reward(w, first=first, second=second, bend=bend):
            return np.tanh(w @ first) + 0.5 * np.sin(w @ second) + 0.3 * ((w @ bend) * w).sum(-1)

        def expected(moved, of_noise, reward=reward):
            return oracle.expected_reward(softmax(moved), softmax(of_noise), scale, reward)

        held = quadrature.gradient(lambda moved, at=theta, expected=expected: expected(moved, at), theta)
        whole = quadrature.gradient(lambda moved, expected=expected: expected(moved, moved), theta)
        shares.append(np.linalg.norm(whole - held) / np.linalg.norm(whole))
        cosines.append(held @ whole / np.linalg.norm(held) / np.linalg.norm(whole))
    assert missing / 4 < np.median(shares) < missing and direction < np.median(cosines) < 1


def test_isotropic_noise_off_the_plane_is_variance_without_signal():
    """The same reward of 64 more noisy coordinates, none of which the model steers: the same mean, more variance."""
    rows = 50_000
    leaf = same_row(THETA.tolist(), rows).requires_grad_()
    p = leaf.detach().softmax(-1)
    drawn = draw(p, 0.5, seed=6)
    weights_log_density(drawn, p, leaf.softmax(-1), torch.full((rows,), 0.5)).sum().backward()
    reward, scores = smooth(drawn.double().numpy()), leaf.grad.double().numpy()
    others = np.random.default_rng(0).normal(size=(rows, 64)).sum(-1) * reward.std()
    alone, beside = ((each - each.mean())[:, None] * scores for each in (reward, reward + others))
    assert np.abs(deviation(beside - alone, np.zeros(3))).max() < 3.0
    assert beside.var(0).sum() > 20 * alone.var(0).sum()
