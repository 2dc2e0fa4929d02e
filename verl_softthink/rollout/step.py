"""One soft step for a whole batch: logits in, shown tokens, log-densities and packed trace rows out.

Plain torch on whatever device the logits are on, no synchronisation with the host and no Python per token. Rows
without a soft request take part as the trash slot and come out with ``overrides`` false.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.laws import LAWS, NO_CANDIDATE, Action, Candidates, candidate_log_probs, select_candidates
from verl_softthink.laws.noise import gumbel
from verl_softthink.rollout.phase import advance
from verl_softthink.rollout.state import LAW_NAMES, SoftState
from verl_softthink.trace import pack_rows


@dataclass(frozen=True)
class StepResult:
    """What a step decided for its N rows.

    Attributes:
        overrides: [N] bool, the row's sampled token must be replaced.
        token: [N] int64 replacement.
        log_prob: [N] float32 log-density of what was drawn; 0 where the token was forced.
        rows: [N, 3 + 2K] int32 packed trace rows.
    """

    overrides: Tensor
    token: Tensor
    log_prob: Tensor
    rows: Tensor


def soft_step(state: SoftState, logits: Tensor, slots: Tensor, index: Tensor) -> StepResult:
    """Draw, score, advance the phase and write history.

    Args:
        state: the engine's soft state.
        logits: [N, V] raw logits.
        slots: [N] int64 slot of each row, ``state.trash`` for rows without a soft request.
        index: [N] int64 index of the token being generated.
    """
    scaled = logits.float()
    if not state.unit_temperature:
        scaled = scaled / state.temperature[slots][:, None]
    action, shown_slot, log_prob, token_log_prob = _draw(state, scaled, slots, index)
    entropy = _entropy(scaled) if state.needs_entropy else torch.full_like(log_prob, torch.nan)

    shown = action.ids.gather(1, shown_slot[:, None])[:, 0]
    step = advance(state.phase_parameters(slots), state.phase_state(slots, index), shown, entropy)
    log_prob = torch.where(step.soft, log_prob, token_log_prob)
    log_prob = torch.where(step.drawn, log_prob, 0.0)

    ids = torch.where(step.drawn[:, None], action.ids, NO_CANDIDATE)
    values = torch.where(step.drawn[:, None], action.values, 0.0)
    at = (slots, index.clamp(max=state.length - 1))
    state.ids[at] = ids.int()
    state.values[at] = values
    state.soft[at] = step.soft
    state.shown[at] = step.token.int()
    state.phase[at] = step.phase
    state.forced[at] = step.forced.int()
    state.cold[at] = step.cold.int()
    return StepResult(
        overrides=step.drawn | step.placed,
        token=step.token,
        log_prob=log_prob,
        rows=pack_rows(
            drawn=step.drawn,
            soft=step.soft,
            forced=step.placed,
            reason=step.reason,
            log_prob=log_prob,
            entropy=entropy,
            ids=ids,
            values=values,
        ),
    )


def _draw(state: SoftState, scaled: Tensor, slots: Tensor, index: Tensor) -> tuple[Action, Tensor, Tensor, Tensor]:
    """Sample every law alive on all rows and keep each row's own."""
    parameters = state.law_parameters(slots)
    merged: tuple[Tensor, ...] | None = None
    for name in state.laws_alive:
        law = LAWS[name]
        candidates = _whole_vocabulary(scaled) if law.whole_vocabulary else _filtered(state, scaled, slots)
        noise = gumbel(state.seed[slots], index, candidates.ids)
        action = law.sample(candidates, parameters, noise)
        # A law over the whole vocabulary may draw few candidates: only the engine's slots travel.
        action = Action(ids=action.ids[:, : state.width], values=action.values[:, : state.width])
        log_probs = _action_log_probs(state, scaled, slots, action)
        slot = law.shown_slot(action, parameters)
        drawn = (
            action.ids,
            action.values,
            slot,
            law.log_prob(action, log_probs, parameters),
            law.token_log_prob(slot, log_probs, parameters),
        )
        if merged is None:
            merged = drawn
        else:
            own = state.law[slots] == LAW_NAMES.index(name)
            merged = tuple(
                torch.where(own[:, None] if new.dim() == 2 else own, new, old)
                for new, old in zip(drawn, merged, strict=True)
            )
    ids, values, slot, log_prob, token_log_prob = merged
    return Action(ids=ids, values=values), slot, log_prob, token_log_prob


def _filtered(state: SoftState, scaled: Tensor, slots: Tensor) -> Candidates:
    candidates = select_candidates(
        scaled, state.filter_parameters(slots), width=state.width, fetch=state.fetch, limited=state.limited
    )
    if state.normalisers_alive == {"candidates"}:
        return candidates
    over_vocabulary = candidate_log_probs(scaled, candidates.ids, normalise_over="vocabulary")
    own = state.over_vocabulary[slots][:, None]
    return Candidates(candidates.ids, torch.where(own, over_vocabulary, candidates.log_probs))


def _whole_vocabulary(scaled: Tensor) -> Candidates:
    ids = torch.arange(scaled.shape[1], device=scaled.device).expand_as(scaled)
    return Candidates(ids, scaled.log_softmax(-1))


def _action_log_probs(state: SoftState, scaled: Tensor, slots: Tensor, action: Action) -> Tensor:
    """l of the action's own candidates, computed exactly as training will compute it."""
    by_normaliser = {
        name: candidate_log_probs(scaled, action.ids, normalise_over=name) for name in sorted(state.normalisers_alive)
    }
    if len(by_normaliser) == 1:
        return next(iter(by_normaliser.values()))
    own = state.over_vocabulary[slots][:, None]
    return torch.where(own, by_normaliser["vocabulary"], by_normaliser["candidates"])


def _entropy(scaled: Tensor) -> Tensor:
    """[N] entropy in nats of softmax(scaled); zero-probability tokens (masked logits) contribute nothing."""
    return torch.special.entr(scaled.softmax(-1)).sum(-1)


def mixture_embeddings(
    state: SoftState, slots: Tensor, index: Tensor, embed: "torch.nn.Module"
) -> tuple[Tensor, Tensor]:
    """Input embeddings of already generated positions, rebuilt from history.

    Args:
        slots, index: [R] int64, the request and the output index of each input row.
        embed: maps (ids [R, K], weights [R, K]) to [R, H].

    Returns:
        embeddings [R, H] and soft [R] bool: where false, the row's token is fed as it is.
    """
    ids = state.ids[slots, index].long()
    action = Action(ids=ids, values=state.values[slots, index])
    parameters = state.law_parameters(slots)
    weights = None
    for name in state.laws_alive:
        drawn = LAWS[name].weights(action, parameters)
        own = (state.law[slots] == LAW_NAMES.index(name))[:, None]
        weights = drawn if weights is None else torch.where(own, drawn, weights)
    soft = state.soft[slots, index]
    # A row that is not soft has no candidates and its weights may be nan: it mixes nothing.
    weights = torch.where(soft[:, None], weights, 0.0)
    return embed(ids.clamp(min=0), weights), soft
