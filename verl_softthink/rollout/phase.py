"""Phase control: when thinking is soft, when it ends, and how it is ended. One state machine for all laws.

    THINKING --shown tokens complete the marker--> ANSWERING
    THINKING --budget spent, or cold stop--> FORCING (the marker's tokens, one a step) --> ANSWERING

Everything is decided on the device from the request's own history, so that a scheduler running ahead of the
device never sees a stale flag. The cold stop is Soft Thinking's: after ``cold_length`` consecutive steps with an
entropy below ``cold_entropy`` nats the marker is forced.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

THINKING, FORCING, ANSWERING = 0, 1, 2
REASON_NONE, REASON_MARKER, REASON_BUDGET, REASON_COLD = range(4)


@dataclass(frozen=True)
class PhaseParameters:
    """Per-row settings, all of shape [N] but ``marker``.

    Attributes:
        budget: int64, soft positions allowed before the marker is forced.
        cold_entropy: float32 nats; 0 turns the cold stop off.
        cold_length: int64 consecutive cold steps that end thinking; 0 turns the cold stop off.
        marker: [N, M] int64 token ids of the end-of-thinking marker, right-aligned, -1 in front.
        marker_length: int64, how many of the M are real.
    """

    budget: Tensor
    cold_entropy: Tensor
    cold_length: Tensor
    marker: Tensor
    marker_length: Tensor


@dataclass(frozen=True)
class PhaseState:
    """What a row's history says just before this step.

    Attributes:
        index: [N] int64 index of the token being generated.
        phase: [N] int8.
        forced: [N] int64 marker tokens already forced.
        cold: [N] int64 consecutive cold steps.
        tail: [N, M-1] int64 shown tokens just before, most recent last; -1 before the first.
    """

    index: Tensor
    phase: Tensor
    forced: Tensor
    cold: Tensor
    tail: Tensor


@dataclass(frozen=True)
class PhaseStep:
    """What phase control decides for this step, all of shape [N].

    Attributes:
        token: int64 shown token; meaningful where ``drawn`` or ``placed``.
        drawn: bool, the law's action is taken.
        soft: bool, its mixture is fed.
        placed: bool, the token is forced.
        phase, forced, cold: the state after the step.
        reason: int8 ``REASON_*`` at the position that ends thinking.
    """

    token: Tensor
    drawn: Tensor
    soft: Tensor
    placed: Tensor
    phase: Tensor
    forced: Tensor
    cold: Tensor
    reason: Tensor


def advance(parameters: PhaseParameters, state: PhaseState, shown: Tensor, entropy: Tensor) -> PhaseStep:
    """One step of the state machine.

    Args:
        shown: [N] int64, the token that the law's action would show.
        entropy: [N] float32 nats; nan counts as warm.
    """
    width = parameters.marker.shape[1]
    thinking = state.phase == THINKING
    over_budget = thinking & (state.index >= parameters.budget)
    cold = torch.where(thinking & (entropy < parameters.cold_entropy), state.cold + 1, 0)
    freezing = thinking & ~over_budget & (parameters.cold_length > 0) & (cold >= parameters.cold_length)
    placed = over_budget | freezing | (state.phase == FORCING)
    drawn = thinking & ~placed

    first = width - parameters.marker_length
    place_at = (first + state.forced).clamp(max=width - 1)
    token = torch.where(placed, parameters.marker.gather(1, place_at[:, None])[:, 0], shown)

    recent = torch.cat((state.tail, shown[:, None]), dim=1)
    unused = torch.arange(width, device=shown.device) < first[:, None]
    completes = drawn & (unused | (recent == parameters.marker)).all(-1)

    forced = torch.where(placed, state.forced + 1, state.forced)
    finished_forcing = placed & (forced >= parameters.marker_length)
    phase = torch.where(placed, FORCING, state.phase)
    phase = torch.where(completes | finished_forcing, ANSWERING, phase)
    reason = torch.where(completes, REASON_MARKER, REASON_NONE)
    reason = torch.where(over_budget, REASON_BUDGET, reason)
    reason = torch.where(freezing, REASON_COLD, reason)
    return PhaseStep(
        token=token,
        drawn=drawn,
        soft=drawn & ~completes,
        placed=placed,
        phase=phase.to(torch.int8),
        forced=forced,
        cold=cold,
        reason=reason.to(torch.int8),
    )
