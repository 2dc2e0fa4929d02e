"""Where responses are branched."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.methods.attnrl.points import branch_points, entropy_branch_points
from verl_softthink.methods.attnrl.steps import Steps

TEN = Steps((10,) * 10)  # starts 0, 10, ... 90


def points(influence, steps=TEN, count=2, quantile=0.8, spacing=1):
    return branch_points(torch.tensor(influence), steps, count=count, quantile=quantile, spacing=spacing)


def test_the_largest_influences_in_the_order_of_their_positions():
    # The 0.8 quantile of 0 ... 0.9 is 0.72: the two largest are candidates.
    assert points([0.1, 0.2, 0.3, 0.9, 0.0, 0.4, 0.5, 0.8, 0.6, 0.7]) == [30, 70]
    assert points([0.1, 0.2, 0.3, 0.9, 0.0, 0.4, 0.5, 0.8, 0.6, 0.7], count=1) == [30]
    # At 0.5 the earliest candidates are taken, not the largest.
    assert points([0.1, 0.2, 0.3, 0.9, 0.0, 0.5, 0.4, 0.8, 0.6, 0.7], quantile=0.5) == [30, 50]


def test_a_step_at_the_quantile_is_a_candidate():
    # The median of five values is one of them.
    five = Steps((10,) * 5)
    assert points([0.1, 0.2, 0.4, 0.3, 0.9], five, quantile=0.5) == [20, 30]
    assert points([0.1, 0.2, 0.9, 0.1, 0.4], five, quantile=1.0, count=1) == [20]


def test_a_step_without_influence_is_no_candidate():
    # All ten are at the quantile. As candidates they would be 30 tokens apart; as fill they are the earliest.
    assert points([0.0] * 10, spacing=30) == [10, 20]


def test_spacing_from_the_start_and_from_each_other():
    influence = [0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0]
    # Exactly 20 tokens are enough, 21 are not.
    assert points(influence, spacing=20) == [20, 40]
    assert points(influence, spacing=21) == [30, 60]
    assert points(influence, spacing=35) == [10, 40]  # one candidate, then the earliest unused step


def test_too_few_candidates_are_filled_up_with_the_earliest_steps():
    assert points([0.0] * 10) == [10, 20]
    assert points([0.0] * 9 + [1.0], count=3) == [10, 20, 90]
    assert points([0.0, 0.0, 1.0], Steps((4, 5, 6)), count=5) == [4, 9]


def test_what_fills_up_is_eligible():
    """Steps begin at 0, 2, 4 and 6; nothing may be branched from 4 on."""
    steps, thinking = Steps((2, 2, 2, 2)), torch.arange(8) < 4
    values = torch.tensor([0.0, 0.0, 0.0, 0.0])
    assert branch_points(values, steps, count=3, quantile=0.8, spacing=1) == [2, 4, 6]
    assert branch_points(values, steps, count=3, quantile=0.8, spacing=1, eligible=thinking) == [2]


def test_a_response_of_one_step_or_none_is_not_branched():
    assert points([1.0], Steps((7,))) == []
    assert points([], Steps(())) == []


def test_one_value_per_step():
    with pytest.raises(ValueError, match="influence has 3 values for 10 steps"):
        points([1.0, 2.0, 3.0])


STEPS = st.lists(st.integers(1, 9), min_size=1, max_size=9)


@settings(deadline=None)
@given(STEPS, st.data(), st.integers(1, 4), st.floats(0, 1), st.integers(0, 30))
def test_points_are_different_starts_of_later_steps(lengths, data, count, quantile, spacing):
    steps = Steps(tuple(lengths))
    influence = data.draw(st.lists(st.floats(0, 1), min_size=len(lengths), max_size=len(lengths)))
    values = torch.tensor(influence, dtype=torch.float64)
    found = branch_points(values, steps, count=count, quantile=quantile, spacing=spacing)
    assert len(found) == min(count, len(lengths) - 1)
    assert all(earlier < later for earlier, later in itertools.pairwise(found))
    assert set(found) <= set(steps.starts[1:])


def test_entropy_branches_before_the_least_certain_tokens():
    entropy = torch.tensor([9.0, 0.1, 2.0, 0.3, 2.0, 1.0])
    every = torch.ones(6, dtype=torch.bool)
    assert entropy_branch_points(entropy, every, count=2) == [2, 4]
    assert entropy_branch_points(entropy, every & (torch.arange(6) != 4), count=2) == [2, 5]
    assert entropy_branch_points(entropy, every, count=1) == [2]
    assert entropy_branch_points(entropy[:1], every[:1], count=2) == []
