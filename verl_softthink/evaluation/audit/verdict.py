"""What an audit concludes: one sentence on the mixtures, and one on the thoughts as a whole.

A loss is the accuracy with thoughts as they are minus that with changed ones, on the same thoughts, with its interval
over problems:

    high <= MARGIN                the changed thoughts do as well
    low > 0, high > MARGIN        the answer depends on what was changed
    otherwise                     undecided, with the number of problems that would decide it
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from verl_softthink.evaluation.bootstrap import LEVEL, Interval

#: Losses of at most two points are called none; more answers than that must not change when nothing was changed.
MARGIN = 0.02
#: Of a number of problems that is a guess.
_DIGITS = 2
#: Smaller losses are written with a tenth of a point.
_WHOLE_POINTS_FROM = 0.1


class Finding(StrEnum):
    """What is known of one change."""

    DEPENDS = "depends"
    AS_WELL = "as well"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """The conclusion.

    Attributes:
        mixtures: what is known of one-hot thoughts; None where nothing can be said.
        text: plain sentences.
    """

    mixtures: Finding | None
    text: str


def finding(loss: Interval) -> Finding:
    """What the interval of a loss says."""
    if loss.high <= MARGIN:
        return Finding.AS_WELL
    return Finding.DEPENDS if loss.low > 0 else Finding.UNDECIDED


def problems_needed(loss: Interval, problems: int) -> int:
    """About how many problems an undecided loss needs if its mean stays: the width falls with their square root."""
    target = max(loss.mean, MARGIN - loss.mean)
    width = max(loss.high - loss.mean, loss.mean - loss.low)
    # Below the second number the few problems themselves are what leaves it open (``bootstrap.unseen``).
    needed = max(problems * (width / target) ** 2, math.log((1 - LEVEL) / 2) / math.log(1 - min(target, LEVEL)))
    unit = 10 ** max(0, math.floor(math.log10(needed)) + 1 - _DIGITS)
    return math.ceil(needed / unit) * unit


def verdict(
    losses: Mapping[str, Interval], *, problems: int, same_answers: float | None, several: float | None
) -> Verdict:
    """The conclusion of an audit.

    Args:
        losses: of ``one_hot`` and ``removed`` thoughts.
        problems: how many there were.
        same_answers: share of answers that did not change when thoughts were handed back as they are; None without an
            answer.
        several: share of soft positions with two effective tokens or more; None without a soft position.
    """
    if several is None:
        return Verdict(None, "no thought has a soft position: there is no mixture to audit.")
    if same_answers is None:
        return Verdict(None, "nothing can be said: no thought was answered; give a --budget that ends them.")
    if same_answers < 1 - MARGIN:
        return Verdict(
            None,
            f"nothing can be said: only {same_answers:.1%} of the answers stay the same when thoughts are handed back "
            "as they are, so the arms differ for other reasons than their thoughts.",
        )
    return Verdict(
        finding(losses["one_hot"]),
        f"{_of_mixtures(losses['one_hot'], problems, several)} {_of_thoughts(losses['removed'], problems)}",
    )


def _of_mixtures(loss: Interval, problems: int, several: float) -> str:
    held = f"({several:.0%} of them hold two effective tokens or more)"
    match finding(loss):
        case Finding.DEPENDS:
            return f"the answer depends on the mixture: one-hot thoughts lose {_points(loss)}."
        case Finding.AS_WELL:
            how = (
                f"better (they gain {_points(_gain(loss))})"
                if loss.high < 0
                else f"as well (they lose {_points(loss)})"
            )
            return f"one-hot thoughts do {how}: this checkpoint does not use its mixtures {held}."
    return (
        f"undecided: one-hot thoughts lose {_points(loss)} on {problems} problems; about "
        f"{problems_needed(loss, problems)} would decide it."
    )


def _of_thoughts(loss: Interval, problems: int) -> str:
    match finding(loss):
        case Finding.DEPENDS:
            return f"This checkpoint needs its thoughts: without them it loses {_points(loss)}."
        case Finding.AS_WELL:
            return f"This checkpoint does not need its thoughts: without them it loses {_points(loss)}."
    return (
        f"Whether this checkpoint needs its thoughts is undecided: without them it loses {_points(loss)}; about "
        f"{problems_needed(loss, problems)} problems would decide it."
    )


def _gain(loss: Interval) -> Interval:
    return Interval(mean=-loss.mean, low=-loss.high, high=-loss.low)


def _points(loss: Interval) -> str:
    digits = 0 if abs(loss.mean) >= _WHOLE_POINTS_FROM else 1
    mean, low, high = (f"{100 * value:.{digits}f}" for value in (loss.mean, loss.low, loss.high))
    return f"{mean} points ({low} to {high})"
