"""The phase state machine and its memory against a slow loop over lists of tokens."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.phase_loop import LAW, PHASE, SAMPLER, STOP, TEXTS, reference, request

from verl_softthink.rollout.phase import REASON_MARKER, REASON_NONE
from verl_softthink.rollout.phase_control import control
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.text_marker import text_marker_table


def run(r: SoftRequest, shown, sampled, entropies, bad):
    """The same through the device tables, beside a row of nobody."""
    state = SoftState(slots=2, length=len(shown), width=3, device=torch.device("cpu"))
    if r.marker_text:
        state.markers.add(r.marker_text, text_marker_table(r.marker_text.encode(), [t.encode() for t in TEXTS]))
    state.add("r", r)
    slots = torch.tensor([state.slot("r"), state.trash])
    steps = []
    for i in range(len(shown)):
        index = torch.tensor([i, 0])
        step, text = control(
            state,
            slots,
            index,
            torch.full((2,), shown[i]),
            torch.full((2,), entropies[i]),
            torch.tensor([bad[i], False]),
        )
        state.phases.write(slots, index, step, text)
        left = not (step.drawn[0] or step.placed[0])
        token = sampled[i] if left else int(step.token[0])
        if state.switching:
            state.phases.write_sampled(slots, index, torch.tensor([token, 0]))
        who = SAMPLER if left else LAW if step.drawn[0] else PHASE
        steps.append((token, who, bool(step.soft[0]), int(step.reason[0]), bool(step.cut[0])))
        assert not (step.drawn[1] | step.placed[1] | step.hard[1] | step.soft[1])
        if step.hard[0]:
            assert left
    return steps


token_lists = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(
    marker=st.one_of(token_lists, st.text("ab", min_size=1, max_size=4)),
    budget=st.integers(1, 20),
    cold=st.one_of(st.just((0.0, 0)), st.tuples(st.just(0.5), st.integers(1, 4))),
    switching=st.tuples(st.integers(0, 3), st.integers(1, 3)),
    prefix=st.one_of(st.none(), token_lists),
    lead_in=st.one_of(st.none(), token_lists),
    answer_budget=st.one_of(st.none(), st.integers(1, 4)),
    broken_at=st.one_of(st.none(), st.integers(0, 20)),
    length=st.integers(1, 20),
    data=st.data(),
)
def test_state_machine_equals_the_slow_loop(
    marker, budget, cold, switching, prefix, lead_in, answer_budget, broken_at, length, data
):
    r = request(
        end_of_thinking=marker,
        match="text" if isinstance(marker, str) else "tokens",
        budget=budget,
        cold_entropy=cold[0],
        cold_length=cold[1],
        switches=switching[0],
        switch_window=switching[1],
        answer_prefix=prefix,
        lead_in=lead_in,
        answer_budget=answer_budget,
    )
    rows = st.lists(st.integers(0, 3), min_size=length, max_size=length)
    shown, sampled = data.draw(rows), data.draw(rows)
    entropies = data.draw(st.lists(st.sampled_from([0.1, 0.4, 0.9, 1.5]), min_size=length, max_size=length))
    bad = [i == broken_at for i in range(length)]
    # Entropies are float32 on the device.
    entropies = torch.tensor(entropies).tolist()
    assert run(r, shown, sampled, entropies, bad) == reference(r, shown, sampled, entropies, bad)


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
