"""Multiplex: independent draws, repeats, both weightings, the discrete limit and unbiasedness."""

import numpy as np
import pytest
import torch
from laws.batches import same_row
from laws.estimators import weights_by_token
from oracles import multiplex as oracle
from oracles import quadrature
from oracles.monte_carlo import deviation
from scipy.special import softmax
from scipy.stats import chisquare

from verl_softthink.laws import LAWS, NO_CANDIDATE, Candidates, LawParameters, candidate_log_probs

LAW = LAWS["multiplex"]
THETA = [0.9, 0.2, -0.6, -1.5]


def whole(logits: torch.Tensor) -> Candidates:
    rows, vocabulary = logits.shape
    return Candidates(ids=torch.arange(vocabulary).expand(rows, vocabulary), log_probs=logits.log_softmax(-1))


def draw(logits: torch.Tensor, parameters: LawParameters, width: int, seed: int = 0):
    candidates = whole(logits)
    noise = LAW.noise(torch.full((len(logits),), seed), torch.arange(len(logits)), candidates, width)
    return LAW.sample(candidates, parameters, noise)


def test_draws_are_independent_and_follow_the_vocabulary():
    rows = 100_000
    action = draw(same_row(THETA, rows), LAW.columns(rows, draws=2), 2)
    pairs = np.bincount((action.ids[:, 0] * 4 + action.ids[:, 1]).numpy(), minlength=16)
    assert chisquare(pairs, rows * np.outer(softmax(THETA), softmax(THETA)).ravel()).pvalue > 1e-3


def test_impossible_tokens_are_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    noise = torch.tensor([[2.0**-53, 0.25, 0.5, 1 - 2.0**-53]], dtype=torch.float64)
    action = LAW.sample(whole(logits), LAW.columns(1, draws=4), noise)
    assert action.ids.tolist() == [[1, 1, 3, 3]]


@pytest.mark.parametrize("rows", [3, 200])
def test_mixture_by_the_slow_reference(rows):
    """Rows differ in number of draws and weighting; the second size takes several chunks."""
    generator = torch.Generator().manual_seed(2)
    logits = 1.5 * torch.randn(rows, 7, generator=generator)
    parameters = {"draws": 1 + torch.arange(rows) % 5, "weighting": torch.arange(rows) % 2}
    action = draw(logits, parameters, 5, seed=6)
    weights, shown = LAW.weights(action, parameters), LAW.shown_slot(action, parameters)
    log_probs = candidate_log_probs(logits, action.ids, normalise_over="vocabulary")
    density = LAW.log_prob(action, log_probs, parameters)
    repeated = 0
    for row in range(rows):
        count = int(parameters["draws"][row])
        assert (action.ids[row, count:] == NO_CANDIDATE).all() and (weights[row, count:] == 0).all()
        draws, probs = action.ids[row, :count].tolist(), logits[row].double().softmax(-1).numpy()
        repeated += len(set(draws)) < count
        by_probability = bool(parameters["weighting"][row])
        for token, weight in oracle.token_weights(draws, probs, by_probability).items():
            total = sum(float(w) for w, k in zip(weights[row], action.ids[row], strict=True) if k == token)
            assert total == pytest.approx(weight, rel=1e-5)
        assert int(action.ids[row, shown[row]]) == oracle.shown(draws, probs, by_probability)
        assert float(density[row]) == pytest.approx(sum(np.log(probs[draws])), rel=1e-5)
    assert repeated > 0


def test_one_draw_is_the_discrete_law():
    """The same score and the same gradient, to the last bit."""
    rows = 32
    logits = torch.randn(rows, 9, generator=torch.Generator().manual_seed(4))
    parameters = LAW.columns(rows, draws=1)
    action = draw(logits, parameters, 3)
    torch.testing.assert_close(LAW.weights(action, parameters), torch.eye(3)[:1].expand(rows, 3))
    outcomes = []
    for name in ("multiplex", "discrete"):
        leaf = logits.clone().requires_grad_()
        log_probs = candidate_log_probs(leaf, action.ids, normalise_over="vocabulary")
        density = LAWS[name].log_prob(action, log_probs, parameters)
        density.sum().backward()
        slot = torch.zeros(rows, dtype=torch.int64)
        token = LAWS[name].token_log_prob(action, slot, log_probs, parameters)
        outcomes.append((density, leaf.grad, token))
    for ours, theirs in zip(*outcomes, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("by_probability", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_unbiased(count, by_probability):
    """Also for a reward of the mixture whose weights depend on the model: what is fed is a constant of the draw."""
    rows = 300_000
    logits = same_row(THETA, rows)
    parameters = LAW.columns(rows, draws=count, weighting="probability" if by_probability else "uniform")
    action = draw(logits, parameters, count, seed=8)
    by_token = np.array([1.0, -0.4, 0.6, 0.2])
    linear = weights_by_token("multiplex", action, parameters, 4) @ by_token
    leaf = logits.clone().requires_grad_()
    log_probs = candidate_log_probs(leaf, action.ids, normalise_over="vocabulary")
    LAW.log_prob(action, log_probs, parameters).sum().backward()
    samples = np.sin(2 * linear)[:, None] * leaf.grad.double().numpy()
    fixed = softmax(THETA)

    def reward(draws):
        weights = oracle.token_weights(list(draws), fixed, by_probability)
        return float(np.sin(2 * sum(weight * by_token[token] for token, weight in weights.items())))

    truth = quadrature.gradient(lambda t: oracle.expected_reward(softmax(t), count, reward), np.array(THETA))
    assert np.abs(deviation(samples, truth)).max() < 3.0
    assert np.abs(deviation(samples, 0.8 * truth)).max() > 3.0
