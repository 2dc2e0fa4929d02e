"""The phase state machine against a slow loop over strings of tokens."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.rollout.phase import (
    ANSWERING,
    FORCING,
    REASON_BUDGET,
    REASON_COLD,
    REASON_MARKER,
    REASON_NONE,
    THINKING,
    PhaseParameters,
    PhaseState,
    advance,
)

WIDTH = 4


def reference(shown, entropies, marker, budget, cold_entropy, cold_length):
    """One request, token by token: (token, drawn, soft, forced, reason) per step."""
    steps, text, mode, left, cold = [], [], THINKING, [], 0
    for index, (token, entropy) in enumerate(zip(shown, entropies, strict=True)):
        reason = REASON_NONE
        if mode == THINKING and index >= budget:
            mode, left, reason = FORCING, list(marker), REASON_BUDGET
        elif mode == THINKING:
            cold = cold + 1 if entropy < cold_entropy else 0
            if cold_length and cold >= cold_length:
                mode, left, reason = FORCING, list(marker), REASON_COLD
        if mode == FORCING:
            token = left.pop(0)
            steps.append((token, False, False, True, reason))
            if not left:
                mode = ANSWERING
        elif mode == THINKING:
            text.append(token)
            ends = text[-len(marker) :] == list(marker)
            steps.append((token, True, not ends, False, REASON_MARKER if ends else REASON_NONE))
            if ends:
                mode = ANSWERING
        else:
            steps.append((token, False, False, False, REASON_NONE))
    return steps


@settings(max_examples=300, deadline=None)
@given(
    shown=st.lists(st.integers(0, 2), min_size=1, max_size=14),
    marker=st.lists(st.integers(0, 2), min_size=1, max_size=WIDTH),
    budget=st.integers(0, 15),
    cold=st.one_of(st.just((0.0, 0)), st.tuples(st.just(0.5), st.integers(1, 4))),
    data=st.data(),
)
def test_state_machine_equals_the_slow_loop(shown, marker, budget, cold, data):
    entropies = data.draw(st.lists(st.sampled_from([0.1, 0.9]), min_size=len(shown), max_size=len(shown)))
    expected = reference(shown, entropies, marker, budget, *cold)
    parameters = PhaseParameters(
        budget=torch.tensor([budget]),
        cold_entropy=torch.tensor([cold[0]]),
        cold_length=torch.tensor([cold[1]]),
        marker=torch.tensor([[-1] * (WIDTH - len(marker)) + marker]),
        marker_length=torch.tensor([len(marker)]),
    )
    tail = [-1] * (WIDTH - 1)
    phase, forced, cold_steps = THINKING, 0, 0
    for index, (token, entropy) in enumerate(zip(shown, entropies, strict=True)):
        state = PhaseState(
            index=torch.tensor([index]),
            phase=torch.tensor([phase], dtype=torch.int8),
            forced=torch.tensor([forced]),
            cold=torch.tensor([cold_steps]),
            tail=torch.tensor([tail]),
        )
        step = advance(parameters, state, torch.tensor([token]), torch.tensor([entropy]))
        placed = bool(step.placed)
        shown_token = int(step.token) if placed or step.drawn else token
        actual = (shown_token, bool(step.drawn), bool(step.soft), placed, int(step.reason))
        assert actual == expected[index], f"step {index}"
        phase, forced, cold_steps = int(step.phase), int(step.forced), int(step.cold)
        tail = [*tail[1:], shown_token]


def test_a_row_that_answers_is_left_alone():
    parameters = PhaseParameters(
        budget=torch.tensor([0]),
        cold_entropy=torch.tensor([1.0]),
        cold_length=torch.tensor([1]),
        marker=torch.tensor([[-1, -1, 1, 2]]),
        marker_length=torch.tensor([2]),
    )
    state = PhaseState(
        index=torch.tensor([7]),
        phase=torch.tensor([ANSWERING], dtype=torch.int8),
        forced=torch.tensor([2]),
        cold=torch.tensor([0]),
        tail=torch.tensor([[0, 0, 1]]),
    )
    step = advance(parameters, state, torch.tensor([2]), torch.tensor([0.0]))
    assert not (step.drawn | step.soft | step.placed).any()
    assert int(step.phase) == ANSWERING
    assert int(step.reason) == REASON_NONE


def test_unknown_entropy_is_not_cold():
    parameters = PhaseParameters(
        budget=torch.tensor([9]),
        cold_entropy=torch.tensor([1.0]),
        cold_length=torch.tensor([1]),
        marker=torch.tensor([[-1, -1, 1, 2]]),
        marker_length=torch.tensor([2]),
    )
    state = PhaseState(
        index=torch.tensor([0]),
        phase=torch.tensor([THINKING], dtype=torch.int8),
        forced=torch.tensor([0]),
        cold=torch.tensor([0]),
        tail=torch.tensor([[-1, -1, -1]]),
    )
    assert bool(advance(parameters, state, torch.tensor([0]), torch.tensor([torch.nan])).drawn)
