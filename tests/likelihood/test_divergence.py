"""The closed form against the reference, against quadrature-free sampling, and its limits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import gumbel

from verl_softthink.likelihood.divergence import gumbel_kl

rows = st.lists(st.floats(-4, 0), min_size=3, max_size=3)


@settings(deadline=None)
@given(rows, rows, st.floats(0.2, 3.0))
def test_the_closed_form_is_the_references(log_probs, reference, noise_scale):
    ours = gumbel_kl(
        torch.tensor([log_probs], dtype=torch.float64),
        torch.tensor([reference], dtype=torch.float64),
        torch.ones(1, 3, dtype=torch.bool),
        torch.tensor([noise_scale], dtype=torch.float64),
    )
    expected = gumbel.kl(np.array(log_probs), np.array(reference), noise_scale)
    assert ours.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert ours.item() >= -1e-9


def test_it_is_the_expected_log_ratio_of_the_densities():
    generator = np.random.default_rng(0)
    log_probs, reference, noise_scale = np.log([0.6, 0.3, 0.1]), np.log([0.4, 0.4, 0.2]), 0.8
    scores = log_probs + noise_scale * generator.gumbel(size=(20_000, 3))
    ratios = [
        gumbel.log_density(g, log_probs, noise_scale) - gumbel.log_density(g, reference, noise_scale) for g in scores
    ]
    ours = gumbel_kl(
        torch.tensor(log_probs)[None],
        torch.tensor(reference)[None],
        torch.ones(1, 3, dtype=torch.bool),
        torch.tensor([noise_scale], dtype=torch.float64),
    ).item()
    error = np.std(ratios) / np.sqrt(len(ratios))
    assert ours == pytest.approx(np.mean(ratios), abs=4 * error)
    assert error < 0.05 * ours


def test_unused_slots_count_for_nothing_and_have_finite_gradients():
    log_probs = torch.tensor([[-0.1, -2.0, -torch.inf]], requires_grad=True)
    reference = torch.tensor([[-0.3, -1.5, -torch.inf]])
    mask = torch.tensor([[True, True, False]])
    value = gumbel_kl(log_probs, reference, mask, torch.ones(1))
    assert value.item() == pytest.approx(gumbel.kl(np.array([-0.1, -2.0]), np.array([-0.3, -1.5]), 1.0), rel=1e-5)
    value.sum().backward()
    assert log_probs.grad.isfinite().all()
    assert log_probs.grad[0, 2] == 0
