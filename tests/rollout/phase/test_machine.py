"""The phase state machine and its memory against a slow loop over lists of tokens."""

from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.phase_loop import LAW, PHASE, SAMPLER, STOP, reference, request
from support.phase_cases import LONGEST, decisions, histories, requests, state_for

from verl_softthink.rollout.phase.machine import REASON_MARKER, REASON_NONE
from verl_softthink.rollout.request import SoftRequest


def run(r: SoftRequest, shown, sampled, entropies, bad, bad_draw=()):
    """The slow loop's steps through the device tables."""
    state = state_for(r, len(shown))
    state.add("r", r)
    return decisions(state, shown, sampled, entropies, bad, bad_draw)


@settings(max_examples=400, deadline=None)
@given(
    r=requests(),
    history=histories(1),
    broken_at=st.one_of(st.none(), st.integers(0, LONGEST)),
    bad_draw=st.sets(st.integers(0, LONGEST), max_size=2),
)
def test_state_machine_equals_the_slow_loop(r, history, broken_at, bad_draw):
    bad = [i == broken_at for i in range(len(history[0]))]
    bad_draw -= {broken_at}
    assert run(r, *history, bad, bad_draw) == reference(r, *history, bad, bad_draw)


def test_a_marker_that_comes_first_leaves_no_soft_position():
    steps = run(request(end_of_thinking=[1], answer_prefix=[2]), [1, 0, 0], [3, 3, 3], [1.0] * 3, [False] * 3)
    assert steps == [
        (1, LAW, False, REASON_MARKER, False),
        (2, PHASE, False, REASON_NONE, False),
        (3, SAMPLER, False, REASON_NONE, False),
    ]


def test_the_stop_token_ends_an_answer_over_its_budget():
    r = request(end_of_thinking=[1], answer_budget=2, lead_in=[1, 3], budget=1)
    steps = run(r, [0] * 7, [2] * 7, [1.0] * 7, [False] * 7)
    assert [token for token, *_ in steps] == [0, 1, 3, 2, 2, STOP, STOP]
    assert [cut for *_, cut in steps] == [False] * 5 + [True] * 2


def test_unknown_entropy_is_not_cold_and_switches_nothing():
    r = request(end_of_thinking=[1], cold_entropy=1.0, cold_length=1, switches=2)
    steps = run(r, [0] * 4, [2] * 4, [float("nan")] * 4, [False] * 4)
    assert all(who == LAW and soft for _, who, soft, _, _ in steps)
