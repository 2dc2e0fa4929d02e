"""Phase control: when thinking is soft, when it ends, how, and what follows. One state machine for all laws.

    THINKING <--entropy--> DISCRETE                        switching: soft steps and ordinary tokens (optional)
    THINKING | DISCRETE --the text completes the marker--> PREFIXING (the answer's prefix, if any) --> ANSWERING
    THINKING | DISCRETE --budget, cold stop, switches--> FORCING (what is missing of marker or lead-in) --> ANSWERING
    ANSWERING --answer budget spent--> the stop token, which ends the request by vLLM's own rule
    any --logits or a draw that are not numbers, a mixture that was not fed--> BROKEN: the stop token, and a reason for
        which the request fails

Everything is decided on the device from the request's own history, so that a scheduler running ahead of the device
never reads a stale flag. The cold stop is Soft Thinking's: after ``cold_length`` consecutive steps with an entropy
below ``cold_entropy`` nats thinking is ended. Forced tokens are masked from the loss.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from verl_softthink.rollout.phase.switching import SwitchParameters, SwitchState, switch
from verl_softthink.trace import END_REASONS

THINKING, FORCING, ANSWERING, DISCRETE, PREFIXING, BROKEN = range(6)
(
    REASON_NONE,
    REASON_MARKER,
    REASON_BUDGET,
    REASON_COLD,
    REASON_SWITCHES,
    REASON_BAD_LOGITS,
    REASON_BAD_DRAW,
    REASON_NOT_FED,
) = range(len(END_REASONS))


@dataclass(frozen=True)
class PhaseParameters:
    """Per-row settings, all of shape [N] but the token lists.

    Attributes:
        budget: int64, thinking positions allowed before thinking is ended.
        cold_entropy: float32 nats; 0 turns the cold stop off.
        cold_length: int64 consecutive cold steps that end thinking; 0 turns the cold stop off. None where it is off in
            every row.
        lead_in: [N, F] int64 token ids forced when thinking is cut short, right-aligned, -1 in front.
        lead_in_length: int64, how many of the F are real; at least 1.
        answer_prefix: [N, F] int64 token ids forced after thinking ended by itself, right-aligned; None where no
            row has any.
        answer_prefix_length: int64, 0 forces nothing.
        answer_budget: int64 answer tokens before the stop token is forced; 0 means no limit. None where no row has one.
        stop: int64 token id that ends the request.
        switching: settings of switching between soft steps and ordinary tokens; None where no row has any.
    """

    budget: Tensor
    cold_entropy: Tensor
    cold_length: Tensor | None
    lead_in: Tensor
    lead_in_length: Tensor
    answer_prefix: Tensor | None
    answer_prefix_length: Tensor
    answer_budget: Tensor | None
    stop: Tensor
    switching: SwitchParameters | None = None


@dataclass(frozen=True)
class PhaseState:
    """The state of each row just before this step, all of shape [N].

    Attributes:
        index: int64 index of the token being generated.
        phase: int64.
        forced: int64 tokens of the lead-in or the answer's prefix so far.
        cold: int64 consecutive cold steps.
        answered: int64 answer tokens so far.
        completed: bool, the tokens so far end with the marker.
        switching: state of switching; None where no row switches.
    """

    index: Tensor
    phase: Tensor
    forced: Tensor
    cold: Tensor
    answered: Tensor
    completed: Tensor
    switching: SwitchState | None = None


@dataclass(frozen=True)
class PhaseStep:
    """What phase control decides for this step, all of shape [N].

    Attributes:
        token: int64 shown token; meaningful where ``drawn`` or ``forced``.
        drawn: bool, the law's action is taken.
        soft: bool, its mixture is fed.
        forced: bool, the token is set by phase control.
        discrete: bool, an ordinary token of thinking, left to the sampler.
        cut: bool, the stop token that ends an answer over its budget.
        after: the state after the step; its index and ``completed`` are those of before.
        reason: int64 ``REASON_*`` at the position that ends thinking.
    """

    token: Tensor
    drawn: Tensor
    soft: Tensor
    forced: Tensor
    discrete: Tensor
    cut: Tensor
    after: PhaseState
    reason: Tensor


def advance(
    parameters: PhaseParameters,
    state: PhaseState,
    shown: Int64[Tensor, " rows"],
    completes: Bool[Tensor, " rows"],
    entropy: Float[Tensor, " rows"],
    bad: Int64[Tensor, " rows"],
    bad_draw: Bool[Tensor, " rows"],
) -> PhaseStep:
    """One step of the state machine.

    Args:
        shown: [N] int64, the token that the law's action would show.
        completes: [N] bool, showing it would complete the marker.
        entropy: [N] float32 nats; nan counts as warm, and switches nothing.
        bad: [N] int64, why the row cannot go on: its logits are not numbers, or what it drew before was not fed;
            ``REASON_NONE`` where it can.
        bad_draw: [N] bool, its draw, if it takes one, is not finite.
    """
    # What no row asks for is None and costs nothing: without switching, for one, no row is discrete.
    thinking, was_discrete, ended_discrete = state.phase == THINKING, None, None
    if parameters.switching is not None:
        was_discrete = state.phase == DISCRETE
        ended_discrete = was_discrete & state.completed
        thinking = (thinking | was_discrete) & ~ended_discrete

    over_budget = thinking & (state.index >= parameters.budget)
    ending, cold, freezing = over_budget, state.cold, None
    if parameters.cold_length is not None:
        cold = torch.where(thinking & (entropy < parameters.cold_entropy), state.cold + 1, 0)
        freezing = thinking & ~over_budget & (parameters.cold_length > 0) & (cold >= parameters.cold_length)
        ending = over_budget | freezing
    discrete, switching, exhausted = None, None, None
    if parameters.switching is not None:
        running = thinking & ~ending
        discrete, switching, exhausted = switch(parameters.switching, state.switching, was_discrete, entropy, running)
        ending = ending | exhausted

    leading = ending | (state.phase == FORCING)
    in_thought = thinking & ~ending
    drawing = in_thought if discrete is None else in_thought & ~discrete
    was_broken = state.phase == BROKEN
    broken = (bad != REASON_NONE) | (bad_draw & drawing) | was_broken
    drawn = drawing & ~broken
    completes = drawn & completes
    token = torch.where(leading, _listed(parameters.lead_in, parameters.lead_in_length, state.forced), shown)
    phase = torch.full_like(state.phase, THINKING) if discrete is None else torch.where(discrete, DISCRETE, THINKING)
    listed, list_length = leading, parameters.lead_in_length
    answering = _either(state.phase == ANSWERING, ended_discrete)
    if parameters.answer_prefix is None:
        phase = phase.masked_fill(completes, ANSWERING)
        listing = FORCING
    else:
        prefix, prefix_length = parameters.answer_prefix, parameters.answer_prefix_length
        has_prefix = prefix_length > 0
        prefixing = state.phase == PREFIXING
        if ended_discrete is not None:
            prefixing = prefixing | (ended_discrete & has_prefix)
        answering = answering & ~prefixing
        token = torch.where(prefixing, _listed(prefix, prefix_length, state.forced), token)
        phase = torch.where(completes, torch.where(has_prefix, PREFIXING, ANSWERING), phase)
        listed = leading | prefixing
        list_length = torch.where(leading, parameters.lead_in_length, prefix_length)
        listing = torch.where(leading, FORCING, PREFIXING)
    answered, cut, stopped = state.answered, torch.zeros_like(broken), broken
    if parameters.answer_budget is not None:
        over = (parameters.answer_budget > 0) & (answered >= parameters.answer_budget)
        cut = answering & over & ~broken
        stopped = broken | cut
        answered = answered + answering
    token = torch.where(stopped, parameters.stop, token)

    forced = (state.forced + 1) * listed
    phase = torch.where(listed, listing, phase)
    phase = phase.masked_fill(answering | (listed & (forced >= list_length)), ANSWERING).masked_fill(broken, BROKEN)

    reason = torch.where(_either(completes, ended_discrete), REASON_MARKER, REASON_NONE)
    for ended, why in ((over_budget, REASON_BUDGET), (freezing, REASON_COLD), (exhausted, REASON_SWITCHES)):
        if ended is not None:
            reason = reason.masked_fill(ended, why)
    failure = bad.masked_fill(bad == REASON_NONE, REASON_BAD_DRAW).masked_fill(was_broken, REASON_NONE)
    reason = torch.where(broken, failure, reason)
    return PhaseStep(
        token=token,
        drawn=drawn,
        soft=drawn & ~completes,
        forced=listed | stopped,
        discrete=torch.zeros_like(broken) if discrete is None else in_thought & discrete & ~broken,
        cut=cut,
        after=PhaseState(
            index=state.index,
            phase=phase,
            forced=forced,
            cold=cold,
            answered=answered,
            completed=state.completed,
            switching=switching,
        ),
        reason=reason,
    )


def _either(first: Tensor, second: Tensor | None) -> Tensor:
    return first if second is None else first | second


def _listed(tokens: Tensor, length: Tensor, forced: Tensor) -> Tensor:
    """[N] the next token of right-aligned lists [N, F]; anything where the list is done."""
    at = (tokens.shape[1] - length + forced).clamp(max=tokens.shape[1] - 1)
    return tokens.gather(1, at[:, None])[:, 0]
