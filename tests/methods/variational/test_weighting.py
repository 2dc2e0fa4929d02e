"""Properties of weights that expectations do not show: offsets, zeros, sizes, refusals."""

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.methods.variational.weighting import (
    effective_sample_size,
    group_sizes,
    log_accuracy,
    log_likelihood,
    log_ratio,
    self_normalise,
    weighted_advantages,
)

LOGS = st.lists(st.one_of(st.floats(-50, 50), st.just(-math.inf)), min_size=1, max_size=12)


def weights_by_hand(logs: list[float]) -> list[float]:
    """The definition, in Python floats."""
    rho = [math.exp(value) for value in logs]
    total = math.fsum(rho)
    return [value / total if total else 0.0 for value in rho]


@settings(deadline=None)
@given(LOGS, LOGS, st.floats(-1e4, 1e4))
def test_self_normalisation(first, second, offset):
    logs = torch.tensor(first + second, dtype=torch.float64)
    group = torch.tensor([0] * len(first) + [1] * len(second))
    weights = self_normalise(logs, group)
    expected = torch.tensor(weights_by_hand(first) + weights_by_hand(second), dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-12)
    shifted = self_normalise(logs + torch.where(group == 0, offset, -offset), group)
    torch.testing.assert_close(shifted, weights, rtol=1e-7, atol=1e-9)
    size = effective_sample_size(weights, group)
    squares = [sum(w * w for w in weights_by_hand(part)) for part in (first, second)]
    assert size.tolist() == pytest.approx([1 / s if s else 0.0 for s in squares])


def test_groups_may_be_interleaved_and_of_any_size():
    group = torch.tensor([1, 0, 1, 1])
    weights = self_normalise(torch.tensor([0.0, 3.0, 0.0, math.log(2)]), group)
    torch.testing.assert_close(weights, torch.tensor([0.25, 1.0, 0.25, 0.5]))
    assert group_sizes(group).tolist() == [1, 3]
    torch.testing.assert_close(effective_sample_size(weights, group), torch.tensor([1.0, 1 / 0.375]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or \\+inf"):
        self_normalise(torch.tensor([0.0, bad]), torch.tensor([0, 0]))


@pytest.mark.parametrize("length_normalised", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_ratio_to_a_mixture_of_proposals(share, length_normalised):
    model, posterior = numpy.array([-3.0, -40.0, -700.0]), numpy.array([-5.0, -10.0, -1.0])
    lengths = numpy.array([2, 8, 30])
    proposal = numpy.longdouble(share) * numpy.exp(numpy.longdouble(model)) + numpy.longdouble(1 - share) * numpy.exp(
        numpy.longdouble(posterior)
    )
    expected = (model - numpy.log(proposal)) / (lengths if length_normalised else 1)
    found = log_ratio(
        torch.tensor(model),
        torch.tensor(posterior),
        torch.tensor(lengths),
        share=share,
        length_normalised=length_normalised,
    )
    numpy.testing.assert_allclose(found.numpy(), expected.astype(float), rtol=1e-12, atol=1e-13)
    if share:
        assert (found * (torch.tensor(lengths) if length_normalised else 1) <= -math.log(share) + 1e-12).all()


def test_ratio_refusals():
    one, length = torch.ones(1), torch.tensor([1])
    with pytest.raises(ValueError, match="share=1.5 is not a probability"):
        log_ratio(one, one, length, share=1.5, length_normalised=True)
    with pytest.raises(ValueError, match="0 tokens"):
        log_ratio(one, one, 0 * length, share=0.0, length_normalised=True)


def test_answer_terms():
    accuracy = log_accuracy(torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0]]))
    assert accuracy.tolist() == pytest.approx([math.log(0.5), -math.inf])
    log_probs = torch.tensor([[-1.0, -2.0, -9.0], [-1.0, -1.0, -1.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert log_likelihood(log_probs, mask, length_normalised=True).tolist() == [-1.5, -math.inf]
    assert log_likelihood(log_probs, mask, length_normalised=False).tolist() == [-3.0, -math.inf]
    with pytest.raises(ValueError, match="not probabilities"):
        log_accuracy(torch.tensor([-1.0, 1.0]))


def test_advantages_are_weights_times_the_thoughts_of_their_question():
    weights, group = torch.tensor([0.5, 0.25, 0.25, 1.0, 0.0]), torch.tensor([0, 0, 0, 1, 1])
    assert weighted_advantages(weights, group).tolist() == [1.5, 0.75, 0.75, 2.0, 0.0]
