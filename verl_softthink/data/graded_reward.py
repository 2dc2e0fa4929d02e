"""Reward of Soft Tokens (arXiv 2509.19170): 100 for the right answer, 10 for a wrong one in its place, 0 for none.

    reward.custom_reward_function.path=pkg://verl_softthink.data.graded_reward

The place is the last complete ``\\boxed{...}``; what stands elsewhere is no answer, even if it is right. Graders:

* ``math_verify`` (default): mathematical equality, by the package math-verify.
* ``number``: equality of values, nothing beyond the standard library.
* ``pocket``: the pocket task, whose answer follows the only ``</think>``.

    +reward.custom_reward_function.reward_kwargs.grader=pocket
"""

from verl_softthink.data import math_reward
from verl_softthink.data.answer_place import last_boxed
from verl_softthink.data.guarded_reward import FAILURE, RewardSetupError, check_ground_truth
from verl_softthink.data.math_reward import Grade
from verl_softthink.pocket import reward as pocket_reward

RIGHT, WRONG, MISSING = 100.0, 10.0, 0.0
POCKET = "pocket"
GRADERS = (*math_reward.GRADERS, POCKET)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict | None = None,
    *,
    grader: str = "math_verify",
    **other: object,
) -> dict[str, float]:
    """The reward, and whether the answer is right and is there at all.

    Args:
        data_source, extra_info, other: what verl passes to every reward function; the answer alone decides here.
        solution_str: the decoded response.
        ground_truth: the right answer.
        grader: one of ``GRADERS``.

    Returns:
        ``score`` for training; ``acc`` (0 or 1), which verl reports in validation; ``answered`` (0 or 1);
        ``grader_failure``, 1 where math-verify gave no verdict on the answer, which is then a wrong one.

    Raises:
        RewardSetupError: unknown grader, no ground truth, or one that the number grader cannot read.
        ModuleNotFoundError: when math-verify is asked for and not installed.
    """
    if grader not in GRADERS:
        raise RewardSetupError(f"reward_kwargs.grader={grader!r} is unknown; use one of {', '.join(GRADERS)}")
    truth = check_ground_truth(ground_truth)
    answer = _answer(solution_str, grader)
    if grader == POCKET:
        grade = Grade(right=pocket_reward.compute_score(data_source, solution_str, truth) == 1)
    else:
        grade = math_reward.grade_answer(answer, truth, grader=grader, source=data_source)
    score = MISSING if answer is None else RIGHT if grade.right else WRONG
    return {
        "score": score,
        "acc": float(grade.right),
        "answered": float(answer is not None),
        FAILURE: float(grade.failed),
    }


def _answer(solution: str, grader: str) -> str | None:
    """What stands in the answer's place; None for nothing or blanks."""
    if grader == POCKET:
        before, marker, after = solution.partition(pocket_reward.THINK_END)
        found = after if marker and pocket_reward.THINK_END not in after else None
    else:
        found = last_boxed(solution)
    return found.strip() if found is not None and found.strip() else None
