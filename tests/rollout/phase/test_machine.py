"""The phase state machine and its memory against a slow loop over lists of tokens."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.phase_loop import LAW, PHASE, SAMPLER, STOP, TEXTS, reference, request
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


@settings(max_examples=300, deadline=None)
@given(r=requests(), history=histories(1), data=st.data())
def test_whatever_cuts_a_thought_its_marker_is_written_once(r, history, data):
    """By the text, or by the ids where these are compared: random budgets, cold stops and switches, random tokens."""
    r = replace(r, budget=data.draw(st.integers(0, len(history[0]))))
    steps = run(r, *history, [False] * len(history[0]))
    cut = next((at for at, step in enumerate(steps) if step[3] not in (REASON_NONE, REASON_MARKER)), None)
    if cut is None:
        return

    def written(tokens):
        return "".join(TEXTS[token] for token in tokens) if r.marker_text else list(tokens)

    tokens = [token for token, *_ in steps]
    thought, lead_in, marker = written(tokens[:cut]), written(r.lead_ins[0]), r.marker_text or list(r.marker)
    begun = max(n for n in range(len(marker)) if thought[len(thought) - n :] == marker[:n])
    starts = [at for at in range(len(lead_in)) if lead_in[at : at + len(marker)] == marker]
    if begun and starts:
        thought, lead_in = thought[: len(thought) - begun], lead_in[starts[0] :]
    response, expected = written(tokens), thought + lead_in
    assert response[: len(expected)] == expected[: len(response)]
    assert not starts or not any(response[at : at + len(marker)] == marker for at in range(len(thought)))


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
