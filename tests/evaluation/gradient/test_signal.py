"""Signal and noise against their true values: a policy of three tokens, two problems, every outcome enumerated."""

import itertools

import numpy as np
import pytest
import torch
from oracles.monte_carlo import deviation

from verl_softthink.evaluation.gradient.signal import inner_products, measure

#: Logits and rewards of each problem's three tokens.
LOGITS = np.array([[0.8, 0.0, -0.7], [-0.2, 0.4, 0.1]])
REWARDS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
#: Prompts of a batch, responses to each.
PROMPTS, RESPONSES = 3, 2


def outcomes() -> tuple[np.ndarray, np.ndarray]:
    """[M] probabilities and [M, 6] gradients of one prompt's group: its problem, and the tokens of its responses.

    The gradient of -(1 / G) sum_g A_g log pi(a_g) in both problems' logits, A_g by leaving g out.
    """
    probabilities, gradients = [], []
    for problem, tokens in itertools.product(range(2), itertools.product(range(3), repeat=RESPONSES)):
        policy = np.exp(LOGITS[problem]) / np.exp(LOGITS[problem]).sum()
        rewards = REWARDS[problem][list(tokens)]
        gradient = np.zeros((2, 3))
        for number, token in enumerate(tokens):
            advantage = rewards[number] - np.delete(rewards, number).mean()
            gradient[problem] -= advantage * (np.eye(3)[token] - policy) / RESPONSES
        probabilities.append(0.5 * policy[list(tokens)].prod())
        gradients.append(gradient.ravel())
    return np.array(probabilities), np.stack(gradients)


def truth() -> tuple[float, float]:
    """Squared norm of a batch's mean gradient, and the trace of its variance."""
    probabilities, gradients = outcomes()
    mean = probabilities @ gradients
    variance = (probabilities @ gradients**2 - mean**2).sum()
    return float(mean @ mean), float(variance / PROMPTS)


def batch_gradients(runs: int, batches: int, seed: int = 0) -> torch.Tensor:
    """[R, B, 6] gradients of batches."""
    probabilities, gradients = outcomes()
    drawn = np.random.default_rng(seed).choice(len(probabilities), size=(runs, batches, PROMPTS), p=probabilities)
    return torch.from_numpy(gradients[drawn].mean(axis=2))


def test_signal_and_noise_are_unbiased_and_the_plain_square_is_not():
    runs = batch_gradients(runs=2000, batches=5)
    measured = [measure(inner_products(list(run))) for run in runs]
    signal, noise = truth()
    assert 0.01 < signal / noise < 1
    assert abs(deviation(np.array([each.squared_mean for each in measured]), signal)) < 3
    assert abs(deviation(np.array([each.variance for each in measured]), noise)) < 3
    # The same runs tell the squared norm of the mean, which holds a fifth of the noise, from the signal.
    plain = runs.mean(1).square().sum(-1).numpy()
    assert abs(deviation(plain, signal)) > 10
    assert abs(deviation(plain, signal + noise / 5)) < 3


def test_the_ratio_is_that_of_one_batch():
    measured = [measure(inner_products(list(run))) for run in batch_gradients(runs=200, batches=300)]
    signal, noise = truth()
    ratios = np.array([each.ratio.mean for each in measured])
    assert abs(deviation(ratios, signal / noise)) < 3
    assert abs(deviation(ratios, 1.1 * signal / noise)) > 3
    assert np.mean([each.norm**2 for each in measured]) == pytest.approx(signal + noise, rel=0.01)


@pytest.mark.parametrize("batches", [16, 64])
def test_intervals_hold_the_truth(batches):
    """At least nine in ten do, of intervals meant to be 95 %; the tenth allows for a skewed ratio of few batches."""
    signal, noise = truth()
    intervals = [measure(inner_products(list(run))).ratio for run in batch_gradients(runs=400, batches=batches)]
    assert np.mean([each.low <= signal / noise <= each.high for each in intervals]) >= 0.9
    # They are not wide for nothing: the ratio of twice the signal is outside of most, given enough batches.
    outside = np.mean([not each.low <= 2 * signal / noise <= each.high for each in intervals])
    assert outside > (0.1 if batches == 16 else 0.4)


def test_noise_alone_has_no_signal():
    generator = torch.Generator().manual_seed(0)
    runs = torch.randn(500, 8, 50, generator=generator)
    ratios = np.array([measure(inner_products(list(run))).ratio.mean for run in runs])
    assert abs(deviation(ratios, 0.0)) < 3 and (ratios < 0).any()


def test_the_interval_is_that_of_batches_left_out_one_by_one():
    (run,) = batch_gradients(runs=1, batches=7)
    whole = measure(inner_products(list(run))).ratio
    left = [measure(inner_products([*run[:out], *run[out + 1 :]])).ratio.mean for out in range(7)]
    half = 1.959964 * np.sqrt(6 / 7 * np.square(left - np.mean(left)).sum())
    assert (whole.low, whole.high) == pytest.approx((whole.mean - half, whole.mean + half), rel=1e-6)


def test_products_add_up_over_parameters_and_ratios_have_no_unit(monkeypatch):
    (run,) = batch_gradients(runs=1, batches=6)
    parts = inner_products(list(run[:, :2])) + inner_products(list(run[:, 2:]))
    whole = inner_products(list(run))
    torch.testing.assert_close(parts, whole)
    monkeypatch.setattr("verl_softthink.evaluation.gradient.signal.COORDINATES_AT_ONCE", 4)
    torch.testing.assert_close(inner_products(list(run)), whole)
    assert measure(9 * whole).ratio.mean == pytest.approx(measure(whole).ratio.mean)
    assert measure(9 * whole).norm == pytest.approx(3 * measure(whole).norm)


@pytest.mark.parametrize("varying", [0, 1, 2])
def test_without_two_gradients_there_is_no_ratio(varying):
    gradients = [torch.ones(3) * (number < varying) for number in range(5)]
    measured = measure(inner_products(gradients))
    assert (measured.ratio is None) == (varying < 2)
    assert measured.norm == pytest.approx((3 * varying / 5) ** 0.5)


def test_two_batches_are_refused():
    (run,) = batch_gradients(runs=1, batches=2)
    with pytest.raises(ValueError, match="2 batches: the variance and its interval need 3 or more"):
        measure(inner_products(list(run)))
