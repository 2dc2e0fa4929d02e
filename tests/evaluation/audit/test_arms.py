"""Arms of an audit: which thought stands where."""

import pytest
import torch
from support.thoughts import ANSWER_PREFIX, MARKER, response

from verl_softthink.config.settings import LawSettings
from verl_softthink.evaluation.audit.arms import ARMS, REMOVED, Drawn, other_problems, prefixes
from verl_softthink.evaluation.audit.interventions import pause
from verl_softthink.evaluation.audit.thought import beginning

LEAD_IN = (*MARKER, *ANSWER_PREFIX)
LAW = LawSettings(name="gumbel", tau=1.0)


def drawn(problem: int, length: int | None, seed: int) -> Drawn:
    if length is None:
        return Drawn(problem=problem, seed=seed, beginning=None)
    trace, tokens = response(LAW, length, seed=seed)
    return Drawn(problem=problem, seed=seed, beginning=beginning(trace, tokens, LAW, len(MARKER)))


@pytest.fixture(scope="module")
def responses() -> list[Drawn]:
    """Two thoughts a problem, of several lengths; one that was never answered, and an empty one."""
    lengths = (4, 6, 3, None, 5, 0, 7, 2)
    return [drawn(number // 2, length, number) for number, length in enumerate(lengths)]


def test_every_arm_keeps_the_number_of_positions(responses):
    found = {arm: prefixes(arm, responses, pause_token=9, lead_in=LEAD_IN, seed=0) for arm in ARMS}
    for arm, begun in found.items():
        for one, prefix in zip(responses, begun, strict=True):
            if arm == REMOVED:
                assert prefix.tokens == list(LEAD_IN)
            elif one.beginning is None:
                assert prefix is None
            else:
                own = one.beginning.prefix
                assert len(prefix.tokens) == len(own.tokens) and prefix.ending == own.ending
                assert prefix.tokens[prefix.ending :] == own.tokens[own.ending :]
                assert torch.equal(prefix.trace.soft, own.trace.soft)
    assert found["pause"][0].tokens[:4] == [9] * 4
    assert found["as_they_are"][1].tokens == responses[1].beginning.prefix.tokens
    assert found["shuffled_positions"][1].tokens != responses[1].beginning.prefix.tokens


def test_a_thought_of_another_problem_is_never_ones_own():
    """Every thought is pauses of its own token: token and problem can be told from each other."""
    problems = [0, 0, 1, 1, 1, 2, 3]
    thoughts = [pause(10 + problem, 2 + number) for number, problem in enumerate(problems)]
    thoughts[3], thoughts[6] = None, pause(13, 0)
    seen = set()
    for seed in range(20):
        others = other_problems(thoughts, problems, seed)
        assert others[3] is None and len(others[6]) == 0
        donors = {}
        for thought, other, problem in zip(thoughts, others, problems, strict=True):
            if thought is not None and len(thought):
                assert len(other) == len(thought)
                donors.setdefault(problem, set()).update(int(token) - 10 for token in other.tokens)
        assert all(len(found) == 1 and found != {problem} for problem, found in donors.items())
        assert set().union(*donors.values()) == {0, 1, 2}
        seen.add(str(donors))
    assert len(seen) == 2, "three problems stand in a circle in two ways"


def test_one_problem_alone_has_no_other():
    with pytest.raises(ValueError, match="only one of these problems has a thought"):
        other_problems([pause(1, 3), pause(1, 2), None], [0, 0, 1], seed=0)
    assert other_problems([None, pause(1, 0)], [0, 1], seed=0)[0] is None
