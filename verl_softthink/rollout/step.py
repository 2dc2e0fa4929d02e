"""One soft step for a whole batch: logits in, shown tokens, log-densities and packed trace rows out.

Plain torch on whatever device the logits are on, no synchronisation with the host and no Python per token. Rows
without a soft request take part as the trash slot and come out with ``overrides`` false.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from verl_softthink.laws import LAWS, NO_CANDIDATE, Action, Candidates, candidate_log_probs, select_candidates
from verl_softthink.rollout.embedding import InputEmbedding, draw_embedding
from verl_softthink.rollout.phase.control import control
from verl_softthink.rollout.phase.machine import REASON_BAD_LOGITS, REASON_NONE
from verl_softthink.rollout.settings_table import RowSettings
from verl_softthink.rollout.state import SoftState
from verl_softthink.trace import pack_rows


@dataclass(frozen=True)
class StepResult:
    """What a step decided for its N rows.

    Attributes:
        overrides: [N] bool, the sampled token must be replaced.
        token: [N] int64 replacement.
        log_prob: [N] float32 log-density of what was drawn; 0 where the token was forced.
        rows: [N, 4 + 2K + H] int32 packed trace rows.
    """

    overrides: Tensor
    token: Tensor
    log_prob: Tensor
    rows: Tensor


@dataclass(frozen=True)
class _Drawn:
    """What the laws drew for N rows: slots and values [N, K], the shown slot, the two scores and bad logits [N]."""

    action: Action
    shown_slot: Tensor
    log_prob: Tensor
    token_log_prob: Tensor
    bad: Tensor


def soft_step(
    state: SoftState,
    logits: Float[Tensor, "rows vocabulary"],
    slots: Int64[Tensor, " rows"],
    index: Int64[Tensor, " rows"],
    embedding: InputEmbedding | None = None,
) -> StepResult:
    """Draw, score, advance the phase and write history.

    Args:
        state: the engine's soft state.
        logits: [N, V] raw logits.
        slots: [N] int64 slot of each row, ``state.trash`` for rows without a soft request.
        index: [N] int64 index of the token being generated.
        embedding: the input embedding; read only where a live law draws embeddings.
    """
    settings = state.read(slots)
    scaled = logits.float()
    if not state.unit_temperature:
        scaled = scaled / settings["temperature"][:, None]
    drawn = _draw(state, settings, scaled, index)
    action, log_prob = drawn.action, drawn.log_prob
    if state.means_alive:
        action, log_prob = draw_embedding(state, settings, scaled, index, drawn.action, log_prob, embedding)
    entropy = _entropy(scaled) if state.needs_entropy else torch.full_like(log_prob, torch.nan)

    shown = action.ids.gather(1, drawn.shown_slot[:, None])[:, 0]
    bad = torch.where(drawn.bad & (slots != state.trash), REASON_BAD_LOGITS, REASON_NONE)
    bad = torch.maximum(bad, state.fault.index_select(0, slots))
    bad_draw = ~(log_prob + drawn.token_log_prob).isfinite()
    step, begun = control(state, settings, slots, index, shown, entropy, bad, bad_draw)
    log_prob = torch.where(step.soft, log_prob, drawn.token_log_prob)
    log_prob = torch.where(step.drawn, log_prob, 0.0)

    ids = torch.where(step.drawn[:, None], action.ids, NO_CANDIDATE)
    values = torch.where(step.drawn[:, None], action.values, 0.0)
    scale = torch.zeros_like(log_prob) if action.scale is None else torch.where(step.drawn, action.scale, 0.0)
    at = state.at(slots, index)
    state.ids.flatten(0, 1).index_copy_(0, at, ids.int())
    state.values.flatten(0, 1).index_copy_(0, at, values)
    state.phases.write(slots, index, step, begun)
    fed = None
    if action.scale is not None:
        state.scale.view(-1).index_copy_(0, at, scale)
        state.seeds.view(-1).index_copy_(0, at, settings["seed"])
        if state.carries_embeddings:
            fed = torch.where(step.drawn[:, None], action.fed, 0.0)
            state.fed.flatten(0, 1).index_copy_(0, at, fed)
    return StepResult(
        overrides=step.drawn | step.forced,
        token=step.token,
        log_prob=log_prob,
        rows=pack_rows(
            drawn=step.drawn,
            soft=step.soft,
            forced=step.forced,
            discrete=step.discrete,
            cut=step.cut,
            reason=step.reason,
            log_prob=log_prob,
            entropy=entropy,
            scale=scale,
            ids=ids,
            values=values,
            fed=fed,
        ),
    )


def _draw(state: SoftState, settings: RowSettings, scaled: Tensor, index: Tensor) -> _Drawn:
    """Sample every law alive on all rows and keep each row's own."""
    parameters = settings.parameters
    merged: tuple[Tensor, ...] | None = None
    for name in state.laws_alive:
        law = LAWS[name]
        if law.whole_vocabulary:
            candidates, bad = _whole_vocabulary(scaled)
        else:
            candidates, bad = _filtered(state, settings, scaled)
        if law.draws_embedding and not state.draws_shown:
            noise = torch.zeros_like(candidates.log_probs)
        else:
            noise = law.noise(settings["seed"], index, candidates, state.width)
        action = law.sample(candidates, parameters, noise)
        action = _in_slots(action, state.width)
        log_probs = _action_log_probs(state, settings, scaled, action)
        slot = law.shown_slot(action, parameters)
        token_log_prob = law.token_log_prob(action, slot, log_probs, parameters)
        # A drawn embedding is scored once it is drawn, beside the shown token.
        log_prob = token_log_prob if law.draws_embedding else law.log_prob(action, log_probs, parameters)
        drawn = (action.ids, action.values, slot, log_prob, token_log_prob, bad)
        if merged is None:
            merged = drawn
        else:
            own = settings.has_law(name)
            merged = tuple(
                torch.where(own[:, None] if new.dim() == 2 else own, new, old)
                for new, old in zip(drawn, merged, strict=True)
            )
    ids, values, slot, log_prob, token_log_prob, bad = merged
    return _Drawn(Action(ids=ids, values=values), slot, log_prob, token_log_prob, bad)


def _in_slots(action: Action, width: int) -> Action:
    """The action in the engine's slots: a law over the whole vocabulary has more candidates, or fewer, than those."""
    missing = width - action.ids.shape[1]
    if missing <= 0:
        return Action(ids=action.ids[:, :width], values=action.values[:, :width])
    return Action(ids=pad(action.ids, (0, missing), value=NO_CANDIDATE), values=pad(action.values, (0, missing)))


def _filtered(state: SoftState, settings: RowSettings, scaled: Tensor) -> tuple[Candidates, Tensor]:
    """Candidates, and [N] bool: logits with a nan or +inf, or nothing but -inf, which leave no first candidate."""
    candidates = select_candidates(scaled, settings.filter, width=state.width, fetch=state.fetch, limited=state.limited)
    # Of logits that are not all numbers the largest is nan or infinite: no pass over the vocabulary is added.
    bad = ~candidates.log_probs[:, 0].isfinite()
    if state.normalisers_alive == {"candidates"}:
        return candidates, bad
    over_vocabulary = candidate_log_probs(scaled, candidates.ids, normalise_over="vocabulary")
    own = settings.over_vocabulary[:, None]
    return Candidates(candidates.ids, torch.where(own, over_vocabulary, candidates.log_probs)), bad


def _whole_vocabulary(scaled: Tensor) -> tuple[Candidates, Tensor]:
    """All tokens, and [N] bool: logits that define no distribution, whose row draws from a uniform one instead."""
    ids = torch.arange(scaled.shape[1], device=scaled.device).expand_as(scaled)
    bad = ~scaled.logsumexp(-1).isfinite()
    return Candidates(ids, scaled.masked_fill(bad[:, None], 0.0).log_softmax(-1)), bad


def _action_log_probs(state: SoftState, settings: RowSettings, scaled: Tensor, action: Action) -> Tensor:
    """l of the action's own candidates, computed exactly as training will compute it."""
    by_normaliser = {
        name: candidate_log_probs(scaled, action.ids, normalise_over=name) for name in sorted(state.normalisers_alive)
    }
    if len(by_normaliser) == 1:
        return next(iter(by_normaliser.values()))
    own = settings.over_vocabulary[:, None]
    return torch.where(own, by_normaliser["vocabulary"], by_normaliser["candidates"])


def _entropy(scaled: Tensor) -> Tensor:
    """[N] entropy in nats of softmax(scaled); zero-probability tokens (masked logits) contribute nothing."""
    return torch.special.entr(scaled.softmax(-1)).sum(-1)
