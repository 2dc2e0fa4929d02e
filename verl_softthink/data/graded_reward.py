"""Reward of Soft Tokens (arXiv 2509.19170): 100 for the right answer, 10 for a wrong one in its place, 0 for none.

    reward.custom_reward_function.path=pkg://verl_softthink.data.graded_reward

The place is the last ``\\boxed{...}``; what stands elsewhere is no answer, even if it is right. Graders:

* ``math_verify`` (default): mathematical equality, by the package math-verify.
* ``number``: equality of values, nothing beyond the standard library.
* ``pocket``: the pocket task, whose answer follows the only ``</think>``.

    +reward.custom_reward_function.reward_kwargs.grader=pocket
"""

from verl_softthink.data import math_reward
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
        ``score`` for training; ``acc`` (0 or 1), which verl reports in validation; ``answered`` (0 or 1).

    Raises:
        ValueError: unknown grader, or a ground truth that the number grader cannot read.
        ModuleNotFoundError: when math-verify is asked for and not installed.
    """
    if grader not in GRADERS:
        raise ValueError(f"reward_kwargs.grader={grader!r} is unknown; use one of {', '.join(GRADERS)}")
    answer = _answer(solution_str, grader)
    right = answer is not None and _right(data_source, solution_str, answer, ground_truth, grader)
    score = MISSING if answer is None else RIGHT if right else WRONG
    return {"score": score, "acc": float(right), "answered": float(answer is not None)}


def _answer(solution: str, grader: str) -> str | None:
    """What stands in the answer's place; None for nothing or blanks."""
    if grader == POCKET:
        before, marker, after = solution.partition(pocket_reward.THINK_END)
        found = after if marker and pocket_reward.THINK_END not in after else None
    else:
        found = math_reward.last_boxed(solution)
    return found if found is not None and found.strip() else None


def _right(data_source: str, solution: str, answer: str, ground_truth: str, grader: str) -> bool:
    if grader == POCKET:
        return pocket_reward.compute_score(data_source, solution, ground_truth) == 1
    boxed = f"\\boxed{{{answer}}}"
    return math_reward.compute_score(data_source, boxed, ground_truth, grader=grader) == 1
