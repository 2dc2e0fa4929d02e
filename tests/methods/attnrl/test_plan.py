"""A whole iteration on paper: scored responses, branches, results, rows."""

import pytest
import torch

from verl_softthink.methods.attnrl.plan import BranchSettings, Sampled, ScoredResponse, grow, plan_branches
from verl_softthink.methods.attnrl.rows import leaf_rows
from verl_softthink.methods.attnrl.selection import AttentionFilter
from verl_softthink.methods.attnrl.steps import Steps

SETTINGS = BranchSettings(spacing=5)


def response(correct, *lengths, high=()):
    influence = torch.zeros(len(lengths))
    influence[list(high)] = 1.0
    return ScoredResponse(Steps(lengths), influence, correct)


def plan(responses, settings=SETTINGS, judge=None):
    return plan_branches(responses, settings, judge or AttentionFilter(), torch.Generator().manual_seed(0))


def cuts(branches):
    return [(branch.response, branch.cut) for branch in branches]


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
    branches = plan(responses, BranchSettings(points=50, spacing=1))
    assert max(branch.cut for branch in branches) == cap - 1
    tree = grow(responses, branches, [Sampled(cap - branch.cut, 1.0) for branch in branches])
    assert {len(row.advantages) for row in leaf_rows(tree)} == {cap}
