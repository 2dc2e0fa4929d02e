"""Which prompts and responses are branched, and a whole iteration on paper: branches, results, rows."""

import math

import pytest
import torch

from verl_softthink.methods.attnrl.plan import (
    AttentionFilter,
    Sampled,
    ScoredResponse,
    branched_count,
    grow,
    plan_branches,
    responses_to_branch,
)
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.methods.attnrl.steps import Steps
from verl_softthink.methods.attnrl.tree import leaf_rows

SETTINGS = AttnrlSettings(spacing=5)


def response(correct, *lengths, high=()):
    influence = torch.zeros(len(lengths))
    influence[list(high)] = 1.0
    return ScoredResponse(Steps(lengths), influence, correct)


def plan(responses, settings=SETTINGS, judge=None):
    return plan_branches(responses, settings, judge or AttentionFilter(), torch.Generator().manual_seed(0))


def cuts(branches):
    return [(branch.response, branch.cut) for branch in branches]


@pytest.mark.parametrize(("right", "count"), list(enumerate([6, 6, 5, 4, 4, 3, 3])))
def test_harder_prompts_are_branched_more(right, count):
    assert branched_count(right / 6, 6) == count
    chosen = responses_to_branch([index < right for index in range(6)], torch.Generator().manual_seed(0))
    assert len(chosen) == len(set(chosen)) == count and chosen == sorted(chosen)


@pytest.mark.parametrize("seed", range(10))
def test_the_rarer_kind_comes_first(seed):
    generator = torch.Generator().manual_seed(seed)
    hard = [False, True, False, False, True, False]
    assert {1, 4} <= set(responses_to_branch(hard, generator))
    easy = [True, False, True, True, True, False]
    assert {1, 5} <= set(responses_to_branch(easy, generator))
    # At one half neither is rarer, and the wrong ones go first: all three of them among four.
    even = [True, False, True, False, True, False]
    assert {1, 3, 5} <= set(responses_to_branch(even, generator))


def test_the_rest_is_random():
    generator = torch.Generator().manual_seed(0)
    seen = {tuple(responses_to_branch([True] * 6, generator)) for _ in range(200)}
    assert len(seen) == math.comb(6, 3)


def test_no_responses_and_no_share():
    assert responses_to_branch([], torch.Generator()) == []
    for accuracy in (-0.5, 1.5):
        with pytest.raises(ValueError, match=f"accuracy={accuracy} is not a share"):
            branched_count(accuracy, 6)


def test_all_correct_prompts_must_beat_the_running_mean():
    judge = AttentionFilter()
    assert judge.keep([True, False], 0.0) and judge.keep([False, False], 9.0)
    assert judge.count == 0
    assert not judge.keep([True, True], 0.4)  # nothing to compare with
    assert judge.keep([True], 0.6)  # above 0.4
    assert judge.mean == pytest.approx(0.5)
    assert not judge.keep([True], 0.5)  # equal is not above
    assert not judge.keep([True], 0.2)
    assert judge.mean == pytest.approx((0.4 + 0.6 + 0.5 + 0.2) / 4)
    resumed = AttentionFilter.from_state(judge.state_dict())
    assert resumed == judge and resumed.keep([True], 0.43)
    with pytest.raises(ValueError, match="correct is empty"):
        judge.keep([], 1.0)


def test_every_response_of_a_hard_prompt_is_branched_twice_at_two_points():
    responses = [response(False, *(4,) * 10, high=(3, 6)) for _ in range(6)]
    branches = plan(responses)
    assert len(branches) == 24
    assert cuts(branches) == [(index, cut) for index in range(6) for cut in (12, 12, 24, 24)]
    tree = grow(responses, branches, [Sampled(5, 0.0)] * 24)
    assert len(leaf_rows(tree)) == 30


def test_a_response_of_one_step_is_left_alone():
    branches = plan([response(False, 9), response(True, 3, 3, 3)])
    assert cuts(branches) == [(1, 3), (1, 3), (1, 6), (1, 6)]
    assert plan([response(False, 9), response(False, 1)]) == []


def test_all_correct_prompts_pass_the_attention_filter_or_are_dropped():
    judge = AttentionFilter()
    assert plan([response(True, *(4,) * 6)], judge=judge) == []
    assert len(plan([response(True, *(4,) * 6, high=(2,))], judge=judge)) == 4


def test_aborted_continuations_take_no_part():
    responses = [response(True, *(4,) * 5, high=(2, 4)), response(False, 7)]
    branches = plan(responses)
    assert cuts(branches) == [(0, 8), (0, 8), (0, 16), (0, 16)]
    sampled = [Sampled(3, 1.0), None, None, None]
    rows = leaf_rows(grow(responses, branches, sampled))
    # One cut is left: the response itself and a single continuation.
    assert [(row.continuation, len(row.advantages)) for row in rows] == [(None, 20), (0, branches[0].cut + 3)]
    assert leaf_rows(grow(responses, branches, [None] * 4)) == []
    with pytest.raises(ValueError, match="1 results for 4 branches; give one, or None, for each"):
        grow(responses, branches, sampled[:1])


def test_a_response_at_the_length_cap_leaves_room_for_every_branch():
    cap = 40
    responses = [response(False, *(1,) * cap)]
    branches = plan(responses, AttnrlSettings(points=50, spacing=1))
    assert max(branch.cut for branch in branches) == cap - 1
    tree = grow(responses, branches, [Sampled(cap - branch.cut, 1.0) for branch in branches])
    assert {len(row.advantages) for row in leaf_rows(tree)} == {cap}
