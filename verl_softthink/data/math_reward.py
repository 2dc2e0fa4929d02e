r"""Reward of a mathematical answer: 1 when it is right, 0 when it is not. verl's signature, loadable by path.

    reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward

``answer_place.py`` says where the answer is looked for, the same for both graders:

* ``number`` (default): equality of values, exactly, of what ``read_number.py`` reads as one number; so 1,200 equals
  1200.0 and 0.5 equals ``\frac{1}{2}``. Nothing beyond the standard library.
* ``math_verify``: equality of values, or else mathematical equality of expressions, sets and intervals, by the package
  math-verify; ``+reward.custom_reward_function.reward_kwargs.grader=math_verify``.

No answer ends a run: where math-verify fails, the score is 0, ``grader_failure`` is 1 and the answer is logged once.
"""

import importlib.util
from functools import lru_cache
from typing import NamedTuple

from verl_softthink.data.answer_place import find_answer
from verl_softthink.data.guarded_reward import FAILURE, RewardSetupError, check_ground_truth, report_failure
from verl_softthink.data.read_number import LONGEST, read_number

GRADERS = ("number", "math_verify")


class Grade(NamedTuple):
    """Whether an answer is right, and whether the grader failed on it, which makes it wrong."""

    right: bool
    failed: bool = False


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict | None = None,
    *,
    grader: str = "number",
    **other: object,
) -> dict[str, float]:
    """1.0 for a right answer and 0.0 for a wrong or missing one.

    Args:
        data_source, extra_info, other: what verl passes to every reward function; the answer alone decides here.
        solution_str: the decoded response.
        ground_truth: the right answer.
        grader: one of ``GRADERS``.

    Returns:
        ``score`` and ``acc``, both 0 or 1; ``grader_failure``, 1 where math-verify gave no verdict.

    Raises:
        RewardSetupError: unknown grader, no ground truth, or one that the number grader cannot read.
        ModuleNotFoundError: when math-verify is asked for and not installed.
    """
    grade = grade_answer(find_answer(solution_str), ground_truth, grader=grader, source=data_source)
    return {"score": float(grade.right), "acc": float(grade.right), FAILURE: float(grade.failed)}


def grade_answer(answer: str | None, ground_truth: str, *, grader: str, source: str) -> Grade:
    """Grade an answer that has been found, or None for no answer; raises as ``compute_score`` does."""
    if grader not in GRADERS:
        raise RewardSetupError(f"reward_kwargs.grader={grader!r} is unknown; use one of {', '.join(GRADERS)}")
    truth = check_ground_truth(ground_truth)
    expected = _value_of(truth)
    if grader == "number" and expected is None:
        raise RewardSetupError(
            f"ground_truth={ground_truth!r} ({source}) is not a number; set "
            "+reward.custom_reward_function.reward_kwargs.grader=math_verify for other answers"
        )
    if grader == "math_verify" and importlib.util.find_spec("math_verify") is None:
        raise ModuleNotFoundError(
            "reward_kwargs.grader='math_verify' needs math-verify; run: pip install 'verl-softthink[math]'"
        )
    if not answer or len(answer) > LONGEST:
        return Grade(right=False)
    if expected is not None and read_number(answer) == expected:
        return Grade(right=True)
    return _math_verify(answer, truth) if grader == "math_verify" else Grade(right=False)


#: A truth is read once for all the responses of its group.
_value_of = lru_cache(maxsize=1024)(read_number)


def _math_verify(answer: str, truth: str) -> Grade:
    from verl_softthink.data.math_verify_pool import GradingFailure, equal

    try:
        return Grade(right=equal(answer, truth))
    except GradingFailure as failure:
        report_failure(answer, str(failure))
        return Grade(right=False, failed=True)
