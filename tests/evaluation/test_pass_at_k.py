"""pass@k against the enumeration of all sets of samples, and its expectation against the true probability."""

from itertools import combinations, product

import pytest

from verl_softthink.evaluation.pass_at_k import pass_at_k


@pytest.mark.parametrize("samples", [1, 2, 5, 8])
def test_share_of_sets_that_hold_a_right_sample(samples):
    for correct in range(samples + 1):
        right = [index < correct for index in range(samples)]
        for k in range(1, samples + 1):
            sets = list(combinations(right, k))
            assert pass_at_k(samples, correct, k) == sum(map(any, sets)) / len(sets)


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.83])
def test_unbiased(chance):
    samples = 6
    for k in range(1, samples + 1):
        expectation = sum(
            chance ** sum(draw) * (1 - chance) ** (samples - sum(draw)) * pass_at_k(samples, sum(draw), k)
            for draw in product((0, 1), repeat=samples)
        )
        assert expectation == pytest.approx(1 - (1 - chance) ** k, abs=1e-12)


def test_many_samples_are_exact():
    assert pass_at_k(32, 1, 1) == 1 / 32
    assert pass_at_k(32, 1, 32) == 1.0
    assert pass_at_k(2000, 1, 1000) == 0.5
    assert pass_at_k(2000, 0, 1000) == 0.0


@pytest.mark.parametrize(
    ("samples", "correct", "k", "message"),
    [(4, 1, 5, "k=5 with 4 samples"), (4, 1, 0, "k=0"), (4, 5, 1, "correct=5 of 4"), (4, -1, 1, "correct=-1")],
)
def test_impossible_arguments_are_refused(samples, correct, k, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k(samples, correct, k)
