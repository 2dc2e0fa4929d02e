"""Exact-match reward. Self-contained: verl loads this file by path (``reward.custom_reward_function.path``)."""

from typing import Any

THINK_END = "</think>"


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **kwargs: Any
) -> float:
    """1.0 if the text after the end of thinking is the answer, else 0.0.

    A response without ``</think>`` was cut off while thinking, one with several never settled on an answer: both
    score 0. Spaces around the answer do not count; any other text after it does.

    Args:
        data_source: ignored, there is one task.
        solution_str: the decoded response; ``</think>`` is not a special token, so it survives decoding.
        ground_truth: the answer as text.
        extra_info: ignored, as are further keywords; verl's reward managers pass them.
    """
    return float(final_answer(solution_str) == ground_truth)


def final_answer(solution_str: str) -> str | None:
    """The text after the end of thinking, without the spaces around it; None unless thinking ends exactly once."""
    if solution_str.count(THINK_END) != 1:
        return None
    return solution_str.partition(THINK_END)[2].strip()
