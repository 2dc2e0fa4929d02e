"""The phase state machine and its memory against a slow loop over lists of tokens."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.rollout.phase import (
    REASON_BAD_LOGITS,
    REASON_BUDGET,
    REASON_COLD,
    REASON_MARKER,
    REASON_NONE,
    REASON_SWITCHES,
)
from verl_softthink.rollout.phase_control import control
from verl_softthink.rollout.request import SoftRequest, resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.text_marker import text_marker_table

STOP = 9
#: What tokens 0 to 3 write, where the marker is a text.
TEXTS = ["a", "b", "ab", "ba"] + [""] * 6
LAW, SAMPLER, PHASE = "law", "sampler", "phase"


def request(**phase) -> SoftRequest:
    text = phase.get("match") == "text"
    return resolve(
        {"phase": phase, "filter": {"top_k": 3, "max_topk": 3}, "seed": 0},
        max_tokens=1000,
        width=3,
        stop=STOP,
        tokenize=(lambda marker: [0] * len(marker)) if text else None,
    )


def reference(r: SoftRequest, shown, sampled, entropies, bad):
    """One request, token by token: (token, who placed it, fed soft, reason, cut) per step."""
    tokens, steps = [], []
    mode, hard, queue, answered, cold = "thinking", False, [], 0, 0
    block, reference_entropy, switches = 0, None, 0

    def complete(candidate):
        if r.marker_text:
            return "".join(TEXTS[t] for t in candidate).endswith(r.marker_text)
        return tuple(candidate[-len(r.marker) :]) == r.marker

    for index in range(len(shown)):
        reason = REASON_NONE
        if mode == "broken" or bad[index]:
            steps.append((STOP, PHASE, False, REASON_NONE if mode == "broken" else REASON_BAD_LOGITS, False))
            mode = "broken"
            continue
        if mode == "thinking" and hard and complete(tokens):
            mode, queue, reason = "after", list(r.answer_prefix), REASON_MARKER
        entropy = entropies[index]
        if mode == "thinking":
            cold = cold + 1 if entropy < r.cold_entropy else 0
            if index >= r.budget:
                mode, queue, reason = "after", list(r.lead_in), REASON_BUDGET
            elif r.cold_length and cold >= r.cold_length:
                mode, queue, reason = "after", list(r.lead_in), REASON_COLD
            elif r.switches and block > 0:
                rises = hard and block >= r.switch_window and entropy > reference_entropy
                falls = not hard and entropy < reference_entropy
                if (rises or falls) and switches >= r.switches:
                    mode, queue, reason = "after", list(r.lead_in), REASON_SWITCHES
                elif rises or falls:
                    hard, block, switches = not hard, 0, switches + 1
        if mode == "thinking":
            if block == 0:
                reference_entropy = entropy
            block += 1
            token = sampled[index] if hard else shown[index]
            ends = not hard and complete([*tokens, token])
            if ends:
                mode, queue, reason = "after", list(r.answer_prefix), REASON_MARKER
            steps.append((token, SAMPLER if hard else LAW, not hard and not ends, reason, False))
            tokens.append(token)
        elif queue:
            steps.append((queue.pop(0), PHASE, False, reason, False))
        elif r.answer_budget and answered >= r.answer_budget:
            steps.append((STOP, PHASE, False, reason, True))
        else:
            steps.append((sampled[index], SAMPLER, False, reason, False))
            answered += 1
    return steps


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
