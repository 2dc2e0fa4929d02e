"""The conclusion of an audit, from the intervals of losses."""

import numpy as np
import pytest

from verl_softthink.evaluation.audit.verdict import MARGIN, Finding, finding, problems_needed, verdict
from verl_softthink.evaluation.bootstrap import Interval, bootstrap_share


def interval(mean, low, high) -> Interval:
    return Interval(mean=mean / 100, low=low / 100, high=high / 100)


def text(one_hot, removed=(50, 45, 55), **changes) -> str:
    settings = {"problems": 300, "same_answers": 1.0, "several": 0.25} | changes
    return verdict({"one_hot": interval(*one_hot), "removed": interval(*removed)}, **settings).text


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ((31, 24, 38), Finding.DEPENDS),
        ((5, 0.1, 9.9), Finding.DEPENDS),
        ((0, -1.5, 1.5), Finding.AS_WELL),
        # Above nothing beyond doubt, and still no more than the margin.
        ((1, 0.2, 1.9), Finding.AS_WELL),
        ((-10, -15, -5), Finding.AS_WELL),
        ((1, -3, 5), Finding.UNDECIDED),
        ((-1, -5, 3), Finding.UNDECIDED),
    ],
)
def test_findings(loss, expected):
    assert finding(interval(*loss)) == expected


def test_sentences_are_plain():
    said = text((31, 24, 38))
    assert said.startswith("the answer depends on the mixture: one-hot thoughts lose 31 points (24 to 38).")
    assert said.endswith("This checkpoint needs its thoughts: without them it loses 50 points (45 to 55).")
    said = text((0.4, -1, 1.8), removed=(0.0, -0.5, 0.5))
    assert "one-hot thoughts do as well (they lose 0.4 points (-1.0 to 1.8)): this checkpoint does not use" in said
    assert "(25% of them hold two effective tokens or more)" in said
    assert "This checkpoint does not need its thoughts: without them it loses 0.0 points" in said
    assert "one-hot thoughts do better (they gain 12 points (6 to 18)): this checkpoint does not use" in text(
        (-12, -18, -6)
    )
    said = text((1, -3, 5), removed=(4, -3, 11))
    assert "undecided: one-hot thoughts lose 1.0 points (-3.0 to 5.0) on 300 problems; about" in said
    assert "Whether this checkpoint needs its thoughts is undecided" in said


def test_nothing_is_said_where_the_instrument_fails_or_has_nothing_to_measure():
    for changes, reason in (
        ({"same_answers": 0.9}, "only 90.0% of the answers stay the same"),
        ({"same_answers": None}, "no thought was answered; give a --budget"),
        ({"several": None}, "no mixture to audit"),
    ):
        losses = {"one_hot": interval(31, 24, 38), "removed": interval(50, 45, 55)}
        concluded = verdict(losses, **{"problems": 300, "same_answers": 1.0, "several": 0.25} | changes)
        assert concluded.mixtures is None and reason in concluded.text


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.03, 0.1, -0.05])
def test_the_number_of_problems_that_is_asked_for_decides(rate):
    """Losses of a few problems are undecided; of as many as were asked for, with the same share, they are not."""
    for problems in (20, 60):
        few = _losses(problems, rate)
        loss = bootstrap_share(few, least=-1.0, seed=0)
        if finding(loss) != Finding.UNDECIDED:
            continue
        needed = problems_needed(loss, problems)
        assert needed > problems
        # A tenth more: the share among more problems is not exactly that among the few.
        repeats = int(np.ceil(1.1 * needed / problems))
        assert finding(bootstrap_share(np.tile(few, repeats), least=-1.0, seed=0)) != Finding.UNDECIDED


def _losses(problems: int, rate: float) -> np.ndarray:
    """-1, 0 or 1 of each problem: the wanted rate, beside as many gains and losses that cancel."""
    values = np.zeros(problems)
    values[:2] = (1, -1)
    changed = round(abs(rate) * problems)
    values[2 : 2 + changed] = np.sign(rate)
    return values


def test_a_few_problems_without_a_change_prove_nothing():
    assert finding(bootstrap_share(np.zeros(8), least=-1.0, seed=0)) == Finding.UNDECIDED
    enough = int(np.ceil(np.log(0.025) / np.log(1 - MARGIN)))
    assert finding(bootstrap_share(np.zeros(enough), least=-1.0, seed=0)) == Finding.AS_WELL
    assert finding(bootstrap_share(np.zeros(enough - 1), least=-1.0, seed=0)) == Finding.UNDECIDED
    assert problems_needed(bootstrap_share(np.zeros(8), least=-1.0, seed=0), 8) >= enough
