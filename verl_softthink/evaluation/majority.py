"""maj@k: is the most frequent of k answers right (self-consistency, Wang et al. 2022, arXiv 2203.11171)?

Answers vote by what they say: the pocket tasks' by their text, numbers by their value, others by the text in the place
where graders look for an answer. A response without an answer does not vote; where answers tie, the share of them that
is right counts, which is the expectation of a vote that breaks ties at random.

n samples give n // k disjoint groups in their order, whose mean is unbiased: of samples that are drawn independently
each group is like any other.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from verl_softthink.data.answer_place import find_answer
from verl_softthink.data.read_number import read_number
from verl_softthink.pocket.reward import final_answer

#: What a response votes for, and whether that is right; None for no answer.
Vote = tuple[Hashable | None, bool]


def voter(reward: str) -> Callable[[str], Hashable | None]:
    """From a decoded response to the answer that it votes for; None where it gives none.

    Args:
        reward: what grades the responses, one of ``scoring.REWARDS`` but ``auto``.
    """
    return final_answer if reward == "pocket" else _mathematical


def majority_at_k(votes: Sequence[Vote], k: int) -> float:
    """Estimate maj@k of one prompt, in [0, 1].

    Args:
        votes: n of them, of independent samples; those past the last whole group are left out.
        k: answers of a vote.

    Raises:
        ValueError: unless 1 <= k <= n.
    """
    if not 1 <= k <= len(votes):
        raise ValueError(
            f"k={k} with {len(votes)} samples: maj@k needs 1 <= k <= samples; draw more samples or lower k"
        )
    groups = [votes[start : start + k] for start in range(0, len(votes) - k + 1, k)]
    return sum(map(_elected, groups)) / len(groups)


def _elected(votes: Sequence[Vote]) -> float:
    """The share of the most frequent answers that is right."""
    counts = Counter(answer for answer, _ in votes if answer is not None)
    if not counts:
        return 0.0
    most = max(counts.values())
    right = {answer for answer, correct in votes if correct}
    leading = [answer for answer, count in counts.items() if count == most]
    return sum(answer in right for answer in leading) / len(leading)


def _mathematical(text: str) -> Hashable | None:
    answer = find_answer(text)
    if not answer:
        return None
    value = read_number(answer)
    return answer if value is None else value
