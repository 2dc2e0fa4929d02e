"""Phase control on the device's tables, and random requests and histories for it."""

import torch
from hypothesis import strategies as st
from oracles.phase_loop import LAW, PHASE, SAMPLER, TEXTS, request

from verl_softthink.rollout.phase.control import control
from verl_softthink.rollout.phase.machine import REASON_BAD_LOGITS, REASON_NONE
from verl_softthink.rollout.phase.markers import text_marker_table
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.state import SoftState

LONGEST = 20
_token_lists = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@st.composite
def requests(draw) -> SoftRequest:
    """Settings of all kinds, small enough to meet in ``LONGEST`` tokens."""
    marker = draw(st.one_of(_token_lists, st.text("ab", min_size=1, max_size=4)))
    cold_entropy, cold_length = draw(st.one_of(st.just((0.0, 0)), st.tuples(st.just(0.5), st.integers(1, 4))))
    return request(
        end_of_thinking=marker,
        match="text" if isinstance(marker, str) else "tokens",
        budget=draw(st.integers(0, LONGEST)),
        cold_entropy=cold_entropy,
        cold_length=cold_length,
        switches=draw(st.integers(0, 3)),
        switch_window=draw(st.integers(1, 3)),
        answer_prefix=draw(st.one_of(st.none(), _token_lists)),
        lead_in=draw(st.one_of(st.none(), _token_lists)),
        answer_budget=draw(st.one_of(st.none(), st.integers(1, 4))),
    )


@st.composite
def histories(draw, shortest: int) -> tuple[list[int], list[int], list[float]]:
    """What the law would show, what the sampler would draw, and the entropy, at every position."""
    length = draw(st.integers(shortest, LONGEST))

    def positions(values):
        return draw(st.lists(values, min_size=length, max_size=length))

    tokens = st.integers(0, 3)
    shown, sampled, entropies = positions(tokens), positions(tokens), positions(st.sampled_from([0.1, 0.4, 0.9, 1.5]))
    # Entropies are float32 on the device.
    return shown, sampled, torch.tensor(entropies).tolist()


def state_for(r: SoftRequest, length: int) -> SoftState:
    """Tables of two slots that know the request's marker."""
    state = SoftState(slots=2, length=length, width=3, device=torch.device("cpu"))
    if r.marker_text:
        state.markers.add(r.marker_text, text_marker_table(r.marker_text.encode(), [t.encode() for t in TEXTS]))
    return state


def decisions(state: SoftState, shown, sampled, entropies, bad, bad_draw=(), first: int = 0) -> list[tuple]:
    """What the tables decide for request "r" from position ``first`` on, beside a row of nobody; as ``reference``."""
    slots = torch.tensor([state.slot("r"), state.trash])
    decided = []
    for i in range(first, len(shown)):
        index = torch.tensor([i, 0])
        broken = torch.tensor([REASON_BAD_LOGITS if bad[i] else REASON_NONE, REASON_NONE])
        entropy, unfit = torch.full((2,), entropies[i]), torch.full((2,), i in bad_draw)
        step, text = control(state, state.read(slots), slots, index, torch.full((2,), shown[i]), entropy, broken, unfit)
        state.phases.write(slots, index, step, text)
        left = not (step.drawn[0] or step.forced[0])
        token = sampled[i] if left else int(step.token[0])
        if state.switching:
            state.phases.write_sampled(slots, index, torch.tensor([token, 0]))
        who = SAMPLER if left else LAW if step.drawn[0] else PHASE
        decided.append((token, who, bool(step.soft[0]), int(step.reason[0]), bool(step.cut[0])))
        assert not (step.drawn[1] | step.forced[1] | step.discrete[1] | step.soft[1])
        if step.discrete[0]:
            assert left
    return decided
