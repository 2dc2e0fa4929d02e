"""The log-density of every drawn position under the model's logits.

    l_i = log softmax(logits / T)_{k_i}              over the frozen candidates, or over the vocabulary
    soft position                  log_prob(action | l)            the law's density
    drawn, but a token was fed     token_log_prob(action | l)      it completed the end-of-thinking marker
    drawn embedding and token      log_prob + token_log_prob       the law draws the shown token beside the embedding

A model's logits at one position are those of the next token, so the action at column c is scored by the logits of
column c - 1. All arithmetic is float32, whatever the logits' dtype.
"""

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from verl_softthink.laws import NO_CANDIDATE, Action, candidate_log_probs
from verl_softthink.laws.candidate_noise import drawn_weights, mean_weights, weights_log_density
from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.likelihood.positions import DrawnPositions
from verl_softthink.likelihood.soft_inputs import DrawnEmbeddings, Mixtures

#: Positions of which the whole vocabulary's probabilities are held in float32 at a time.
POSITIONS_AT_ONCE = 256


def log_density(
    logits: Float[Tensor, "*batch vocabulary"],
    rows: Int64[Tensor, " draws"],
    positions: DrawnPositions,
    settings: ScoringSettings,
    fed: Mixtures | DrawnEmbeddings | None = None,
) -> Float32[Tensor, " draws"]:
    """Score N drawn positions.

    Args:
        logits: [..., V] raw logits of the whole micro-batch, any dtype.
        rows: [N] int64, the flattened position of ``logits`` that scores each drawn position, all distinct.
        positions: what was drawn.
        settings: the law and its parameters.
        fed: what the soft positions were fed, None where there are none.

    Returns:
        [N] float32, differentiable in the logits.
    """
    law = settings.law
    with torch.autocast(logits.device.type, enabled=False):
        # Two index lists rather than one torch.where: the formula that does not apply must not reach the gradient.
        soft, token = positions.soft.nonzero()[:, 0], (~positions.soft).nonzero()[:, 0]
        scores = logits.new_zeros(len(rows), dtype=torch.float32)
        if law.draws_embedding:
            density = scores[:0]
            if len(soft) and settings.draws_weights:
                density = _of_weights(logits, rows[soft], positions[soft], settings)
            elif len(soft):
                density = _of_embeddings(logits, rows[soft], settings, fed)
            scores = scores.index_copy(0, soft, density)
            if not law.draws_shown(settings.parameters):
                # The shown token is certain given the logits.
                return scores
        log_probs = _candidate_log_probs(logits, rows, positions.action.ids, settings)
        slot = (positions.action.ids == positions.shown[:, None]).int().argmax(-1)
        if law.draws_embedding:
            return scores + law.token_log_prob(positions.action, slot, log_probs, settings.columns(rows))
        action = positions.action
        density = law.log_prob(action[soft], log_probs[soft], settings.columns(soft))
        token_log_prob = law.token_log_prob(action[token], slot[token], log_probs[token], settings.columns(token))
        return scores.index_copy(0, soft, density).index_copy(0, token, token_log_prob)


def log_density_in_tree(
    logits: Float[Tensor, "*batch vocabulary"],
    rows: Int64[Tensor, " draws"],
    positions: DrawnPositions,
    settings: ScoringSettings,
) -> Float32[Tensor, " draws"]:
    """``log_density`` where several draws may share a row of logits, as branches that begin with a draw do."""
    order = rows.argsort(stable=True)
    ascending = rows[order]
    # The rank of each draw among those that share a logits row: draws of one rank have distinct rows.
    rank = torch.empty_like(rows)
    rank[order] = torch.arange(len(rows), device=rows.device) - torch.searchsorted(ascending, ascending)
    scores = logits.new_zeros(len(rows), dtype=torch.float32)
    for each in range(int(rank.max()) + 1 if len(rows) else 0):
        index = (rank == each).nonzero()[:, 0]
        scores = scores.index_copy(0, index, log_density(logits, rows[index], positions[index], settings))
    return scores


def _of_embeddings(logits: Tensor, rows: Tensor, settings: ScoringSettings, fed: DrawnEmbeddings) -> Tensor:
    """[M] density of drawn embeddings, differentiable in the logits and in the table."""
    action, parameters = fed.action, settings.columns(rows)
    if settings.normalise_over == "candidates":
        log_probs = _candidate_log_probs(logits, rows, action.ids, settings)
        return settings.law.log_prob(action, log_probs, parameters, fed.embeddings)

    def density(logits: Tensor, table: Tensor, fed: Tensor, scale: Tensor) -> Tensor:
        log_probs = (logits.float() / settings.temperature).log_softmax(-1)
        drawn = Action(ids=action.ids[:0], values=action.values[:0], fed=fed, scale=scale)
        return settings.law.log_prob(drawn, log_probs, parameters, table)

    # The vocabulary's probabilities are computed again in the backward pass rather than kept for every position.
    pieces = zip(
        logits.reshape(-1, logits.shape[-1])[rows].split(POSITIONS_AT_ONCE),
        action.fed.split(POSITIONS_AT_ONCE),
        action.scale.split(POSITIONS_AT_ONCE),
        strict=True,
    )
    return torch.cat(
        [checkpoint(density, part, fed.embeddings, drawn, scale, use_reentrant=False) for part, drawn, scale in pieces]
    )


def _of_weights(logits: Tensor, rows: Tensor, positions: DrawnPositions, settings: ScoringSettings) -> Tensor:
    """[M] density of noisy weights, differentiable in the logits."""
    action = positions.action
    scored = _candidate_log_probs(logits, rows, action.ids, settings).exp()
    drawn = drawn_weights(action, positions.seed, positions.index, settings.columns(rows))
    return weights_log_density(drawn, mean_weights(action), scored, action.scale)


def _candidate_log_probs(logits: Tensor, rows: Tensor, ids: Tensor, settings: ScoringSettings) -> Tensor:
    if settings.normalise_over == "vocabulary":
        scoring = logits.reshape(-1, logits.shape[-1])[rows].float()
        return candidate_log_probs(scoring / settings.temperature, ids, normalise_over="vocabulary")
    picked = pick(logits, rows, ids.clamp(min=0)).float() / settings.temperature
    # Of the picked logits [N, K] the candidate of slot i is "token" i.
    slots = torch.arange(ids.shape[-1], device=ids.device).expand_as(ids)
    return candidate_log_probs(picked, slots.where(ids != NO_CANDIDATE, NO_CANDIDATE), normalise_over="candidates")


def pick(
    logits: Float[Tensor, "*batch vocabulary"], rows: Int64[Tensor, " draws"], ids: Int64[Tensor, "draws slots"]
) -> Float[Tensor, "draws slots"]:
    """The logits of K ids at each of N flattened positions: [..., V], [N] and [N, K] give [N, K].

    The gradient is a sparse tensor: dense indexing would allocate a second array of the size of all logits, the
    largest tensor of a training step.
    """
    shape = (*logits.shape[:-1], ids.shape[-1])
    index = ids.new_zeros(shape).reshape(-1, shape[-1]).index_copy(0, rows, ids)
    return logits.gather(-1, index.view(shape), sparse_grad=True).reshape(-1, shape[-1])[rows]
