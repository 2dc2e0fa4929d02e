"""Phase control of one step: a batch's settings and history, handed to the state machine."""

import torch
from torch import Tensor

from verl_softthink.rollout.phase.history import phase_state
from verl_softthink.rollout.phase.machine import DISCRETE, THINKING, PhaseParameters, PhaseStep, advance
from verl_softthink.rollout.phase.markers import begun_tokens, ends_with
from verl_softthink.rollout.phase.switching import SwitchParameters
from verl_softthink.rollout.settings_table import RowSettings
from verl_softthink.rollout.state import SoftState
from verl_softthink.thinking import MAX_MARKER, MAX_TEXT_BYTES


def control(
    state: SoftState,
    settings: RowSettings,
    slots: Tensor,
    index: Tensor,
    shown: Tensor,
    entropy: Tensor,
    bad: Tensor,
    bad_draw: Tensor,
) -> tuple[PhaseStep, Tensor]:
    """Decide a step for N rows.

    Args:
        settings: of the N rows.
        slots, index: [N], as in ``soft_step``.
        shown: [N] int64, the token that the law's action would show.
        entropy: [N] float32 nats.
        bad, bad_draw: [N], as in ``advance``.

    Returns:
        the step, and how much of the marker had begun before it, [N] int64 tokens or bytes.
    """
    row = state.phases.before(slots, index, state.switching)
    completes = completed = torch.zeros_like(bad_draw)
    begun = row["begun"]
    thinking = (row["phase"] == THINKING) | (row["phase"] == DISCRETE)
    if state.matches_tokens:
        marker, length = state.marker.index_select(0, slots), settings["marker_length"]
        by_tokens = settings["text_marker"] < 0
        recent = state.phases.recent(slots, index, MAX_MARKER)
        completes = by_tokens & ends_with(torch.cat((recent[:, 1:], shown[:, None]), dim=1), marker, length)
        if state.switching:
            completed = by_tokens & ends_with(recent, marker, length)
        if state.parts_tokens:
            begun = torch.where(by_tokens & thinking, begun_tokens(recent, marker, length), begun)
    if state.matches_text:
        number = settings["text_marker"]
        begun = torch.where(thinking, state.markers.step(number, begun, row["shown"]), begun)
        completed = completed | state.markers.is_complete(number, begun)
        completes = completes | state.markers.is_complete(number, state.markers.step(number, begun, shown))
    at = slots * MAX_TEXT_BYTES + begun.clamp(max=MAX_TEXT_BYTES - 1)
    parameters = PhaseParameters(
        budget=settings["budget"],
        cold_entropy=settings["cold_entropy"],
        cold_length=settings["cold_length"] if state.cold_stops else None,
        lead_in=state.lead_in.flatten(0, 1).index_select(0, at).long(),
        lead_in_length=state.lead_in_length.take(at).long(),
        answer_prefix=state.answer_prefix.index_select(0, slots) if state.answer_prefixes else None,
        answer_prefix_length=settings["answer_prefix_length"],
        answer_budget=settings["answer_budget"] if state.answer_budgets else None,
        stop=settings["stop"],
        switching=SwitchParameters(limit=settings["switches"], window=settings["switch_window"])
        if state.switching
        else None,
    )
    before = phase_state(row, index, completed, state.switching)
    return advance(parameters, before, shown, completes, entropy, bad, bad_draw), begun
