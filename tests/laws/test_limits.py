"""The limits that hold exactly or in expectation (specification, section 5: ii, iii, iv)."""

import numpy as np
import pytest
import torch
from laws.batches import same_row
from laws.estimators import draw, score, shown_tokens, weights_by_token
from oracles import gumbel as gumbel_oracle
from oracles.monte_carlo import deviation, mean_and_error
from scipy.special import log_softmax, softmax
from scipy.stats import chisquare

from verl_softthink.laws import LAWS, Candidates
from verl_softthink.laws.noise import gumbel

THETA = [1.2, 0.4, 0.0, -0.7, -3.0]
ROWS = 200_000


def winners_p_value(name: str, tau: float, scale: float, width: int) -> float:
    """p-value of the shown tokens' counts against softmax(l / s) over the ``width`` candidates."""
    parameters = LAWS["gumbel"].columns(ROWS, tau=tau, noise_scale=scale)
    action = draw(name, same_row(THETA, ROWS), width, parameters, seed=width)
    counts = np.bincount(shown_tokens(name, action, parameters), minlength=len(THETA))
    assert counts[width:].sum() == 0  # THETA is sorted: ids beyond the width are not candidates
    expected = np.exp(gumbel_oracle.argmax_log_probs(log_softmax(THETA[:width]), scale))
    return float(chisquare(counts[:width], ROWS * expected).pvalue)


@pytest.mark.parametrize("width", [2, 5])
@pytest.mark.parametrize("tau", [1e-3, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_shown_token_follows_the_candidates_at_every_tau(name: str, tau: float, width: int) -> None:
    assert winners_p_value(name, tau, 1.0, width) > 1e-3


def test_noise_scale_tempers_the_shown_token() -> None:
    assert winners_p_value("gumbel", 0.1, 0.6, 5) > 1e-3
    assert winners_p_value("gumbel", 0.1, 1.8, 5) > 1e-3


def test_clamped_noise_distorts_the_shown_token() -> None:
    """Control: the released code's draw fails the same test."""
    assert winners_p_value("gumbel_reference", 0.1, 1.0, 5) < 1e-9


def test_discrete_draw_follows_the_vocabulary() -> None:
    parameters = LAWS["discrete"].columns(ROWS)
    action = draw("discrete", same_row(THETA, ROWS), len(THETA), parameters, seed=3)
    counts = np.bincount(action.ids[:, 0].numpy(), minlength=len(THETA))
    assert chisquare(counts, ROWS * softmax(THETA)).pvalue > 1e-3


def smooth(y: np.ndarray) -> np.ndarray:
    """A reward that curves between the corners of the simplex, so that mixtures are worth something else."""
    linear = y @ np.array([1.0, -0.5, 0.3, 0.8, 0.0])
    return linear + linear**2 - 0.7 * y[:, 0] * y[:, 1]


def policy_gradient(name: str, tau: float, width: int) -> np.ndarray:
    """Per-sample R d log p / d theta, [N, V]."""
    rows = 200_000
    logits, parameters = same_row(THETA, rows), LAWS["gumbel"].columns(rows, tau=tau)
    action = draw(name, logits, width, parameters, seed=11)
    rewards = smooth(weights_by_token(name, action, parameters, len(THETA)))
    return rewards[:, None] * score(name, action, logits, parameters)


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_expected_policy_gradient_tends_to_the_categorical_one(name: str, width: int) -> None:
    """Over the renormalised candidates: sum_i p~_i R(one-hot i) d log p~_i / d theta."""
    p = np.zeros(len(THETA))
    p[:width] = softmax(THETA[:width])
    rewards = smooth(np.eye(len(THETA)))
    categorical = p * (rewards - p @ rewards)
    assert np.abs(deviation(policy_gradient(name, 1e-3, width), categorical)).max() < 3.0
    # The limit is a limit: far from it the same estimate is of another gradient.
    assert np.abs(deviation(policy_gradient(name, 2.0, width), categorical)).max() > 5.0


@pytest.mark.parametrize("scale", [0.8, 1.0, 2.0])
def test_kl_between_two_gumbel_laws_is_closed_form(scale: float) -> None:
    """E[log p - log q] = sum_i (D_i - 1 + exp(-D_i)), D = (l - l_ref) / s; the weights alone carry less of it."""
    log_probs, reference = log_softmax([1.0, 0.2, -0.4, 0.0]), log_softmax([0.3, 0.4, -0.1, -0.8])
    parameters = LAWS["gumbel"].columns(ROWS, tau=0.1, noise_scale=scale)
    p, q = same_row(log_probs.tolist(), ROWS, torch.float64), same_row(reference.tolist(), ROWS, torch.float64)
    ids = torch.arange(4).expand(ROWS, 4)
    noise = gumbel(torch.arange(ROWS), torch.zeros(ROWS, dtype=torch.int64), ids).double()
    ratios = {}
    for name in ("gumbel", "concrete"):
        action = LAWS[name].sample(Candidates(ids=ids, log_probs=p), parameters, noise)
        ratio = LAWS[name].log_prob(action, p, parameters) - LAWS[name].log_prob(action, q, parameters)
        ratios[name] = ratio.numpy()
        assert abs(deviation(np.exp(-ratios[name]), 1.0)) < 3.0  # E_p[q / p] = 1: both are densities
    exact = gumbel_oracle.kl(log_probs, reference, scale)
    assert abs(deviation(ratios["gumbel"], exact)) < 3.0
    lost, error = mean_and_error(ratios["gumbel"] - ratios["concrete"])
    assert lost > 3.0 * error and ratios["concrete"].mean() > 0.0
