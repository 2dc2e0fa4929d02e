"""A soft prefix put into the engine's memory as if the request had drawn it: from there on it is its own history."""

import torch

from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.rollout.phase_history import COLUMNS
from verl_softthink.rollout.prefix import decode_prefix
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.resumed_phase import history_rows, resumed_phase
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.to_device import to_device


def load_prefix(state: SoftState, slot: int, request: SoftRequest, prompt: list[int]) -> None:
    """Fill the first positions of a slot's history.

    Args:
        slot: of a request that was just added.
        request: its settings, with a prefix that the frontend has checked.
        prompt: the request's prompt, which ends with the prefix's tokens.
    """
    trace, tokens = decode_prefix(request.prefix), prompt[-request.soft_prefix_length :]
    count, width = len(trace), min(trace.ids.shape[1], state.width)
    trace = trace.narrowed(width)
    text = state.markers.behind(request.marker_text, torch.tensor(tokens[:-1], dtype=torch.int64))
    rows = history_rows(COLUMNS, trace, tokens, resumed_phase(trace, tokens, request), text)
    state.phases.load(slot, to_device(rows, state.device))
    state.ids[slot, :count, :width] = to_device(trace.ids, state.device)
    state.values[slot, :count, :width] = to_device(trace.values, state.device)
    if trace.ids.shape[1] < state.width:
        state.ids[slot, :count, width:] = NO_CANDIDATE
    state.scale[slot, :count] = to_device(trace.scale, state.device)
    if trace.seed is not None:
        state.seeds[slot, :count] = to_device(trace.seed, state.device)
    if trace.fed is not None:
        state.fed[slot, :count] = to_device(trace.fed.to(state.fed.dtype), state.device)
