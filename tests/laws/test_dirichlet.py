"""The Dirichlet law: its variates, density, gradients, limits and unbiasedness."""

import numpy as np
import pytest
import torch
from laws.batches import normalised, ragged_batch, same_row
from laws.estimators import weights_by_token
from oracles import dirichlet as oracle
from oracles import quadrature
from oracles.monte_carlo import deviation
from scipy.special import gammaln, log_softmax, softmax
from scipy.stats import chisquare, gamma, kstest

from verl_softthink.laws import LAWS, Action, Candidates, LawParameters, candidate_log_probs
from verl_softthink.laws.dirichlet import LANES, SMALLEST_SHARE, log_gamma_variate
from verl_softthink.laws.noise import uniform

LAW = LAWS["dirichlet"]
THETA = [0.9, 0.2, -0.6]


def uniforms(rows: int, lanes: int = LANES, seed: int = 3) -> torch.Tensor:
    return uniform(torch.tensor(seed), torch.arange(rows)[:, None], torch.arange(lanes)[None])


def draw(logits: torch.Tensor, concentration: float, seed: int = 0) -> tuple[Action, LawParameters]:
    rows, width = logits.shape
    ids = torch.arange(width).expand(rows, width)
    candidates = Candidates(ids=ids, log_probs=logits.log_softmax(-1))
    parameters = {"concentration": torch.full((rows,), concentration)}
    noise = LAW.noise(torch.full((rows,), seed), torch.arange(rows), candidates, width)
    return LAW.sample(candidates, parameters, noise), parameters


@pytest.mark.parametrize("shape", [1e-3, 0.3, 1.0, 4.0, 80.0])
def test_variates_are_gamma(shape):
    drawn = log_gamma_variate(torch.full((50_000, 1), shape, dtype=torch.float64), uniforms(50_000)[:, None])
    values = drawn.numpy().ravel()
    if shape < 0.01:  # where float64 holds no exp(value): F(x) = x^a / Gamma(a + 1) up to a relative x
        below_one = np.minimum(shape * values - gammaln(shape + 1), 0.0)
        assert kstest(np.exp(below_one), "uniform").pvalue > 1e-3
    else:
        assert kstest(np.exp(values), gamma(shape).cdf).pvalue > 1e-3


def test_variates_are_the_slow_loop():
    shapes = torch.logspace(-6, 3, 60, dtype=torch.float64)
    noise = uniforms(60)
    # One row whose proposals are all rejected: acceptance uniforms next to 1 at proposals far out.
    noise[5, 0:-1:2], noise[5, 1:-1:2] = 1e-15, 1 - 1e-15
    actual = log_gamma_variate(shapes[:, None], noise[:, None])[:, 0]
    for row in range(60):
        assert float(actual[row]) == pytest.approx(oracle.log_gamma(float(shapes[row]), noise[row].numpy()), rel=1e-10)


def test_noise_is_keyed_by_token_and_lane():
    ids = torch.tensor([[4, 9, 2]])
    candidates = Candidates(ids=ids, log_probs=torch.zeros(1, 3))
    whole = LAW.noise(torch.tensor([8]), torch.tensor([3]), candidates, 3)
    assert whole.shape == (1, 3, LANES) and len(whole.unique()) == 3 * LANES
    order = torch.tensor([2, 0, 1])
    shuffled = Candidates(ids=ids[:, order], log_probs=torch.zeros(1, 3))
    assert torch.equal(LAW.noise(torch.tensor([8]), torch.tensor([3]), shuffled, 3), whole[:, order])


def test_density_is_scipys():
    batch = ragged_batch(2)
    concentration = torch.linspace(0.5, 30, len(batch.noise), dtype=torch.float64)
    parameters = {"concentration": concentration}
    noise = LAW.noise(torch.arange(24), torch.arange(24), batch.candidates, 5)
    action = LAW.sample(batch.candidates, parameters, noise)
    weights = LAW.weights(action, parameters)
    torch.testing.assert_close(weights.sum(-1), torch.ones(24, dtype=torch.float64))
    for theta in (batch.candidates.log_probs, batch.other_log_probs):
        actual = LAW.log_prob(action, theta, parameters) + LAW.log_jacobian(action, parameters)
        for row in range(24):
            used = int(batch.candidates.mask[row].sum())
            if used > 1 and float(weights[row, :used].min()) > 1e-200:
                y = weights[row, :used].numpy()
                expected = oracle.log_density(y / y.sum(), theta[row, :used].numpy(), float(concentration[row]))
                assert float(actual[row]) == pytest.approx(expected, rel=1e-8, abs=1e-8)
            elif used == 1:  # one point, certain
                assert float(actual[row]) == pytest.approx(0.0, abs=1e-12)


def test_gradcheck():
    batch = ragged_batch(0, rows=15)
    parameters = {"concentration": torch.linspace(0.5, 5, 15, dtype=torch.float64)}
    noise = LAW.noise(torch.arange(15), torch.arange(15), batch.candidates, 5)
    action = LAW.sample(batch.candidates, parameters, noise)

    def density(logits):
        return LAW.log_prob(action, normalised(logits, batch.candidates.mask), parameters)

    assert torch.autograd.gradcheck(density, batch.other_logits.clone().requires_grad_())


def test_the_position_that_ends_thinking_is_scored_by_the_draw():
    action, parameters = draw(same_row(THETA, 4), 2.0)
    log_probs = same_row(THETA, 4).log_softmax(-1)
    slot = LAW.shown_slot(action, parameters)
    assert torch.equal(
        LAW.token_log_prob(action, slot, log_probs, parameters), LAW.log_prob(action, log_probs, parameters)
    )


@pytest.mark.parametrize("concentration", [0.01, 1.0, 1e4])
def test_extremes_stay_finite(concentration):
    rows = 256
    logits = same_row([0.0, np.log(SMALLEST_SHARE), np.log(SMALLEST_SHARE) / 2], rows)
    action, parameters = draw(logits, concentration)
    assert torch.isfinite(action.values).all()
    torch.testing.assert_close(LAW.weights(action, parameters).sum(-1), torch.ones(rows))
    for theta in (logits, same_row([-1e4, 0.0, 5.0], rows), same_row([0.0, -1e4, -1e4], rows)):
        leaf = theta.clone().requires_grad_()
        density = LAW.log_prob(action, leaf.log_softmax(-1), parameters)
        density.sum().backward()
        assert torch.isfinite(density).all() and torch.isfinite(leaf.grad).all()


def test_large_concentration_feeds_the_distribution():
    action, parameters = draw(same_row(THETA, 2000), 1e4)
    weights = LAW.weights(action, parameters)
    np.testing.assert_allclose(weights.numpy(), np.tile(softmax(THETA), (2000, 1)), atol=0.03)
    assert np.abs(deviation(weights.double().numpy(), softmax(THETA))).max() < 3.5


def test_small_concentration_feeds_single_tokens_with_their_probabilities():
    rows = 60_000
    action, parameters = draw(same_row(THETA, rows), 1e-3)
    weights = LAW.weights(action, parameters)
    assert float((weights.max(-1).values > 0.99).float().mean()) > 0.98
    counts = np.bincount(LAW.shown_slot(action, parameters).numpy(), minlength=3)
    assert chisquare(counts, rows * softmax(THETA)).pvalue > 1e-3


@pytest.mark.parametrize("concentration", [0.5, 3.0])
def test_unbiased(concentration):
    """Rewards quadratic in the weights have moments in closed form."""
    rows = 300_000
    matrix = np.array([[1.0, -0.7, 0.3], [-0.7, -0.4, 0.9], [0.3, 0.9, 0.6]])
    logits = same_row(THETA, rows)
    action, parameters = draw(logits, concentration, seed=4)
    y = weights_by_token("dirichlet", action, parameters, 3)
    leaf = logits.clone().requires_grad_()
    log_probs = candidate_log_probs(leaf, action.ids, normalise_over="candidates")
    LAW.log_prob(action, log_probs, parameters).sum().backward()
    samples = np.einsum("ni,ij,nj->n", y, matrix, y)[:, None] * leaf.grad.double().numpy()

    def expected(theta):
        a = concentration * np.exp(log_softmax(theta))
        moments = (np.outer(a, a) + np.diag(a)) / (concentration * (concentration + 1))
        return float((matrix * moments).sum())

    truth = quadrature.gradient(expected, np.array(THETA))
    assert np.abs(deviation(samples, truth)).max() < 3.0
    assert np.abs(deviation(samples, 0.8 * truth)).max() > 3.0
