"""Phase control behind a soft prefix: cut anywhere, it goes on as the uninterrupted slow loop does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.phase_loop import LAW, PHASE, SAMPLER, TEXTS, reference, request

from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.rollout.continuation import load_prefix
from verl_softthink.rollout.phase_control import control
from verl_softthink.rollout.prefix import encode_prefix
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.resumed_phase import resumed_phase
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.text_marker import text_marker_table
from verl_softthink.trace import END_REASONS, SoftTrace

token_lists = st.lists(st.integers(0, 3), min_size=1, max_size=3)


def trace_of(steps, entropies) -> SoftTrace:
    """The trace of the slow loop's steps, by its definition alone."""
    drawn = torch.tensor([who == LAW for _, who, *_ in steps])
    soft = torch.tensor([fed for _, _, fed, *_ in steps])
    reasons = [reason for *_, reason, _ in steps if reason]
    ended = next((at for at, step in enumerate(steps) if step[3]), len(steps))
    hard = torch.tensor([who == SAMPLER and at < ended for at, (_, who, *_) in enumerate(steps)])
    ids = torch.full((len(steps), 3), NO_CANDIDATE, dtype=torch.int32)
    ids[drawn, 0] = torch.tensor([token for token, *_ in steps], dtype=torch.int32)[drawn]
    return SoftTrace(
        soft=soft,
        drawn=drawn,
        forced=torch.tensor([who == PHASE for _, who, *_ in steps]),
        ids=ids,
        values=torch.zeros(len(steps), 3),
        log_prob=torch.zeros(len(steps)),
        entropy=torch.tensor(entropies[: len(steps)]),
        end_reason=END_REASONS[reasons[0]] if reasons else "none",
        hard=hard,
    )


def continued(r: SoftRequest, steps, cut, shown, sampled, entropies):
    """What the device's tables decide from ``cut`` on, given the prefix alone."""
    state = SoftState(slots=2, length=len(shown), width=3, device=torch.device("cpu"))
    if r.marker_text:
        state.markers.add(r.marker_text, text_marker_table(r.marker_text.encode(), [t.encode() for t in TEXTS]))
    prefix = trace_of(steps, entropies).truncated(cut)
    tokens = [token for token, *_ in steps[:cut]]
    r = SoftRequest.from_dict(r.as_dict() | {"prefix": encode_prefix(prefix)})
    # What an earlier request has left in the slot.
    state.phases._table[0] = 7
    state.add("r", r)
    load_prefix(state, state.slot("r"), r, [5, 6, *tokens])
    slots, decided = torch.tensor([state.slot("r"), state.trash]), []
    for i in range(cut, len(shown)):
        index = torch.tensor([i, 0])
        entropy = torch.full((2,), entropies[i])
        step, text = control(state, slots, index, torch.full((2,), shown[i]), entropy, torch.zeros(2, dtype=torch.bool))
        state.phases.write(slots, index, step, text)
        left = not (step.drawn[0] or step.placed[0])
        token = sampled[i] if left else int(step.token[0])
        if state.switching:
            state.phases.write_sampled(slots, index, torch.tensor([token, 0]))
        who = SAMPLER if left else LAW if step.drawn[0] else PHASE
        decided.append((token, who, bool(step.soft[0]), int(step.reason[0]), bool(step.cut[0])))
    return decided


@settings(max_examples=200, deadline=None)
@given(
    marker=st.one_of(token_lists, st.text("ab", min_size=1, max_size=4)),
    budget=st.integers(1, 16),
    cold=st.one_of(st.just((0.0, 0)), st.tuples(st.just(0.5), st.integers(1, 4))),
    switching=st.tuples(st.integers(0, 3), st.integers(1, 3)),
    prefix=st.one_of(st.none(), token_lists),
    lead_in=st.one_of(st.none(), token_lists),
    answer_budget=st.one_of(st.none(), st.integers(1, 4)),
    length=st.integers(2, 20),
    data=st.data(),
)
def test_a_continuation_goes_on_as_the_slow_loop_does(
    marker, budget, cold, switching, prefix, lead_in, answer_budget, length, data
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
    entropies = torch.tensor(entropies).tolist()
    steps = reference(r, shown, sampled, entropies, [False] * length)
    # A response ends with the stop token that its answer's budget places.
    steps = steps[: next((at for at, step in enumerate(steps) if step[4]), length)]
    cut = data.draw(st.integers(1, max(1, len(steps) - 1)))
    assert len(steps) >= cut
    assert continued(r, steps, cut, shown, sampled, entropies)[: len(steps) - cut] == steps[cut:]


def drawn(shown, sampled, count, **phase):
    r = request(**phase)
    entropies = [1.0] * len(shown)
    return r, trace_of(reference(r, shown, sampled, entropies, [False] * len(shown)), entropies).truncated(count)


def test_settings_that_did_not_draw_the_prefix_are_refused():
    phase = {"end_of_thinking": [1], "budget": 3, "lead_in": [1, 2]}
    _, trace = drawn([0] * 8, [3] * 8, 6, **phase)
    tokens = [0, 0, 0, 1, 2, 3]
    assert resumed_phase(trace, tokens, request(**phase)).answered == 1
    with pytest.raises(ValueError, match=r"position 3 \(budget\) and goes on with \[1, 2, 3\], where .*lead_in places"):
        resumed_phase(trace, tokens, request(**phase | {"lead_in": [1, 2, 2]}))
    with pytest.raises(ValueError, match="its answer holds a token that was placed"):
        resumed_phase(trace, tokens, request(**phase | {"lead_in": [1]}))
    r, trace = drawn([0] * 8, [3] * 8, 2, **phase)
    with pytest.raises(ValueError, match="no entropies, which phase.cold_length=2"):
        trace.entropy[0] = torch.nan
        resumed_phase(trace, [0, 0], request(**phase | {"cold_entropy": 1.0, "cold_length": 2}))
