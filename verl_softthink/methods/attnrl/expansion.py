"""Difficulty-aware expansion: the harder a prompt, the more of its responses are branched, wrong ones first."""

import math

import torch


def branched_count(accuracy: float, samples: int) -> int:
    """k = ceil(n exp(-accuracy)) of n initial responses are branched: all at 0, 3 of 6 at 1.

    Raises:
        ValueError: when the accuracy is no share.
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy={accuracy} is not a share of right responses; give a number from 0 to 1")
    return math.ceil(samples * math.exp(-accuracy))


def responses_to_branch(correct: list[bool], generator: torch.Generator) -> list[int]:
    """Which of a prompt's n initial responses are branched.

    The rarer kind comes first and whole, so that values differ within the prompt: from an accuracy of one half on the
    wrong responses, below it the right ones. The rest is drawn at random.

    Args:
        correct: of every initial response.
        generator: draws the rest, and which of the rarer kind where there are too many of them.

    Returns:
        k indices, ascending (``branched_count``).
    """
    if not correct:
        return []
    accuracy = sum(correct) / len(correct)
    count = branched_count(accuracy, len(correct))
    first_kind = accuracy < 0.5
    first = [index for index, right in enumerate(correct) if right == first_kind]
    rest = [index for index, right in enumerate(correct) if right != first_kind]
    order = _shuffled(first, generator) + _shuffled(rest, generator)
    return sorted(order[:count])


def _shuffled(items: list[int], generator: torch.Generator) -> list[int]:
    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]
