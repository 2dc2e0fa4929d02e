"""The bootstrap against the enumeration of all resamples, and its coverage of a known mean."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from verl_softthink.evaluation.bootstrap import bootstrap_mean, bootstrap_ratio, bootstrap_share, unseen


def test_ends_are_the_quantiles_of_all_resamples():
    values = np.array([0.0, 0.1, 0.7, 1.0])
    every = np.array([np.mean(draw) for draw in product(values, repeat=4)])
    interval = bootstrap_mean(values, seed=0, level=0.8, resamples=20_000)
    assert interval.mean == values.mean()
    # The distribution is discrete: an end is right if the enumerated distribution puts it at its quantile.
    for end, share in ((interval.low, 0.1), (interval.high, 0.9)):
        assert (every < end - 1e-9).mean() - 0.01 <= share <= (every <= end + 1e-9).mean() + 0.01


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(1)
    trials = 300
    covered = 0
    for trial in range(trials):
        interval = bootstrap_mean(rng.random(60) < 0.3, seed=trial, level=0.9, resamples=400)
        covered += interval.low <= 0.3 <= interval.high
    # Three standard errors of 300 trials at 0.9, and the percentile interval's known shortfall at 60 values.
    assert 0.83 <= covered / trials <= 0.96


def test_equal_seeds_repeat_and_a_constant_has_no_width():
    values = np.linspace(0, 1, 17)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)
    certain = bootstrap_mean(np.ones(5), seed=0)
    assert (certain.low, certain.mean, certain.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("values", [[], [[0.5]], [np.nan]])
def test_values_that_have_no_mean_are_refused(values):
    with pytest.raises(ValueError, match="one finite number per prompt"):
        bootstrap_mean(np.array(values), seed=0)


def test_level_is_a_share():
    with pytest.raises(ValueError, match="level=95"):
        bootstrap_mean(np.ones(3), seed=0, level=95)


def test_a_ratio_weighs_prompts_by_what_they_hold():
    totals, counts = np.array([1.0, 4.0, 0.0, 0.0]), np.array([1, 8, 1, 0])
    ratio = bootstrap_ratio(totals, counts, seed=0)
    assert ratio.mean == 0.5
    # Every resample of the three prompts that hold something.
    every = [sum(totals[i] for i in d) / sum(counts[i] for i in d) for d in product(range(3), repeat=3)]
    assert (ratio.low, ratio.high) == (min(every), max(every))
    values = np.linspace(0, 1, 17)
    assert bootstrap_ratio(3 * values, np.full(17, 3), seed=3) == bootstrap_ratio(values, np.ones(17), seed=3)
    with pytest.raises(ValueError, match="one finite number per prompt"):
        bootstrap_ratio(np.zeros(3), np.zeros(3), seed=0)


@pytest.mark.parametrize("prompts", [1, 4, 60, 1000])
def test_equal_values_have_the_width_of_the_exact_interval(prompts):
    exact = binomtest(0, prompts).proportion_ci(0.95)
    assert unseen(prompts) == pytest.approx(exact.high)
    none, every = (bootstrap_share(np.full(prompts, value), seed=0) for value in (0.0, 1.0))
    assert (none.low, none.high) == (0.0, pytest.approx(exact.high))
    assert (every.low, every.high) == (pytest.approx(1 - exact.high), 1.0)
    difference = bootstrap_share(np.zeros(prompts), least=-1.0, seed=0)
    assert difference.low == pytest.approx(-exact.high)


def test_other_values_keep_the_bootstraps_interval():
    values = np.random.default_rng(0).random(200) < 0.4
    assert bootstrap_share(values, seed=1) == bootstrap_mean(values, seed=1)
