"""The arms of an audit: what stands in the place of each response's thought when its answer is given again.

| arm | the thought |
|---|---|
| as_they_are | unchanged: the control of the instrument, and what the others are compared with |
| one_hot | each mixture replaced by its largest token |
| uniform | the same candidates with equal weights |
| shuffled_positions | the same mixtures, each at another position |
| shuffled_problems | the mixtures of another problem's thought, as many as there were |
| pause | as many pause tokens |
| removed | nothing: the answer is forced at once |

A response that gave no answer has none in any arm but the last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verl_softthink.evaluation.audit.interventions import cycle, of_other, one_hot, pause, shuffled, uniform
from verl_softthink.evaluation.audit.thought import Beginning, Prefix, Thought, without_thought

AS_THEY_ARE, ONE_HOT, UNIFORM = "as_they_are", "one_hot", "uniform"
SHUFFLED_POSITIONS, SHUFFLED_PROBLEMS = "shuffled_positions", "shuffled_problems"
PAUSE, REMOVED = "pause", "removed"
#: In the order in which they are shown.
ARMS = (AS_THEY_ARE, ONE_HOT, UNIFORM, SHUFFLED_POSITIONS, SHUFFLED_PROBLEMS, PAUSE, REMOVED)

#: What is done to each thought by itself; the seed is for what is random.
_CHANGES: dict[str, Callable[[Thought, int], Thought]] = {
    AS_THEY_ARE: lambda thought, _: thought,
    ONE_HOT: lambda thought, _: one_hot(thought),
    UNIFORM: lambda thought, _: uniform(thought),
    SHUFFLED_POSITIONS: shuffled,
}


@dataclass(frozen=True)
class Drawn:
    """A response whose thought is changed.

    Attributes:
        problem: its problem's index.
        seed: of its request, and of what is done to it at random.
        beginning: None where it gave no answer.
    """

    problem: int
    seed: int
    beginning: Beginning | None


def prefixes(
    arm: str, responses: Sequence[Drawn], *, pause_token: int, lead_in: Sequence[int], seed: int
) -> list[Prefix | None]:
    """Where each response's answer begins in one arm; None for a response without one.

    Args:
        arm: one of ``ARMS``.
        responses: of several problems; other problems' thoughts are taken from here.
        pause_token: stands in the place of every mixture.
        lead_in: tokens that are forced where thinking is cut short.
        seed: of the choice of other problems.
    """
    if arm == REMOVED:
        return [without_thought(lead_in)] * len(responses)
    thoughts = [None if one.beginning is None else one.beginning.thought for one in responses]
    if arm == SHUFFLED_PROBLEMS:
        thoughts = other_problems(thoughts, [one.problem for one in responses], seed)
    elif arm == PAUSE:
        thoughts = [None if thought is None else pause(pause_token, len(thought)) for thought in thoughts]
    else:
        change = _CHANGES[arm]
        thoughts = [
            None if thought is None else change(thought, one.seed)
            for thought, one in zip(thoughts, responses, strict=True)
        ]
    return [
        None if thought is None else one.beginning.with_thought(thought)
        for thought, one in zip(thoughts, responses, strict=True)
    ]


def other_problems(thoughts: Sequence[Thought | None], problems: Sequence[int], seed: int) -> list[Thought | None]:
    """For every thought one of another problem, cut or repeated to its length; None where there is no thought.

    Problems that have thoughts stand in a random circle, and each takes the next one's. Empty thoughts stay empty.

    Raises:
        ValueError: when only one problem has a thought.
    """
    of_problem: dict[int, list[Thought]] = {}
    for thought, problem in zip(thoughts, problems, strict=True):
        if thought is not None and len(thought):
            of_problem.setdefault(problem, []).append(thought)
    if len(of_problem) == 1:
        raise ValueError(
            "thoughts cannot be shuffled between problems: only one of these problems has a thought that was answered; "
            "give more problems, or a --budget that ends the thoughts"
        )
    order = list(of_problem)
    donor = {order[at]: order[to] for at, to in enumerate(cycle(len(order), seed).tolist())}
    taken = dict.fromkeys(of_problem, 0)
    others: list[Thought | None] = []
    for thought, problem in zip(thoughts, problems, strict=True):
        if thought is None or not len(thought):
            others.append(thought)
            continue
        # The samples of a problem take the samples of the other in turn.
        candidates = of_problem[donor[problem]]
        others.append(of_other(candidates[taken[problem] % len(candidates)], len(thought)))
        taken[problem] += 1
    return others
