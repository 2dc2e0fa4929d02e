"""Phase control behind a soft prefix: cut anywhere, it goes on as the uninterrupted slow loop does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.phase_loop import LAW, PHASE, SAMPLER, reference, request
from support.phase_cases import decisions, histories, requests, state_for

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.rollout.phase.history import resumed_phase
from verl_softthink.rollout.phase.machine import DISCRETE
from verl_softthink.rollout.prefix import encode_prefix, load_prefix
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.trace import END_REASONS, SoftTrace


def trace_of(steps, entropies) -> SoftTrace:
    """The trace of the slow loop's steps, by its definition alone."""
    drawn = torch.tensor([who == LAW for _, who, *_ in steps])
    soft = torch.tensor([fed for _, _, fed, *_ in steps])
    reasons = [reason for *_, reason, _ in steps if reason]
    ended = next((at for at, step in enumerate(steps) if step[3]), len(steps))
    discrete = torch.tensor([who == SAMPLER and at < ended for at, (_, who, *_) in enumerate(steps)])
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
        discrete=discrete,
    )


def continued(r: SoftRequest, steps, cut, shown, sampled, entropies):
    """What the device's tables decide from ``cut`` on, given the prefix alone."""
    state = state_for(r, len(shown))
    prefix = trace_of(steps, entropies).truncated(cut)
    tokens = [token for token, *_ in steps[:cut]]
    r = SoftRequest.from_dict(r.as_dict() | {"prefix": encode_prefix(prefix, LawSettings(name=r.law))})
    # What an earlier request has left in the slot.
    state.phases._positions[: state.length] = 7
    state.add("r", r)
    load_prefix(state, state.slot("r"), r, [5, 6, *tokens])
    return decisions(state, shown, sampled, entropies, [False] * len(shown), first=cut)


@settings(max_examples=200, deadline=None)
@given(r=requests(), history=histories(2), data=st.data())
def test_a_continuation_goes_on_as_the_slow_loop_does(r, history, data):
    shown, sampled, entropies = history
    steps = reference(r, shown, sampled, entropies, [False] * len(shown))
    # A response ends with the stop token that its answer's budget places.
    steps = steps[: next((at for at, step in enumerate(steps) if step[4]), len(steps))]
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
    assert resumed_phase(trace, tokens, request(**phase), 0).answered == 1
    with pytest.raises(ValueError, match=r"position 3 \(budget\) and goes on with \[1, 2, 3\], where .*lead_in forces"):
        resumed_phase(trace, tokens, request(**phase | {"lead_in": [1, 2, 2]}), 0)
    with pytest.raises(ValueError, match="its answer holds a token that was forced"):
        resumed_phase(trace, tokens, request(**phase | {"lead_in": [1]}), 0)
    r, trace = drawn([0] * 8, [3] * 8, 2, **phase)
    with pytest.raises(ValueError, match="no entropies, which phase.cold_length=2"):
        trace.entropy[0] = torch.nan
        resumed_phase(trace, [0, 0], request(**phase | {"cold_entropy": 1.0, "cold_length": 2}), 0)


@pytest.mark.parametrize("phase", [{"end_of_thinking": [1, 0]}, {"end_of_thinking": "ba"}])
def test_a_prefix_that_holds_the_marker_and_thinks_on_is_refused(phase):
    """Drawn under another marker: the device would find this one complete, and nothing to force behind it."""
    _, trace = drawn([1, 0, 0, 0, 0, 0], [3] * 6, 6, end_of_thinking=[3], budget=4)
    whole = len(request(**phase).lead_ins)
    for count in (3, 6):
        with pytest.raises(ValueError, match="holds softthink.phase.end_of_thinking .* and goes on thinking behind it"):
            resumed_phase(trace.truncated(count), [1, 0, 0, 0, 3, 3][:count], request(**phase), whole)


def test_a_block_of_tokens_is_left_only_by_switching():
    switching = {"end_of_thinking": [1], "budget": 9, "switches": 2, "switch_window": 2}
    trace = trace_of([(0, LAW, True, 0, False), (0, SAMPLER, False, 0, False)], [1.0, 1.0])
    assert trace.discrete.tolist() == [False, True]
    assert resumed_phase(trace, [0, 0], request(**switching), 0).phase == DISCRETE
    with pytest.raises(ValueError, match="ordinary tokens of thinking, which softthink.phase.switches=0 never leaves"):
        resumed_phase(trace, [0, 0], request(**switching | {"switches": 0}), 0)
