"""The log-density of every drawn position under the model's logits.

    l_i = log softmax(logits / T)_{k_i}              over the frozen candidates, or over the vocabulary
    soft position                  log_prob(action | l)            the law's density
    drawn, but a token was fed     token_log_prob(shown | l)       it completed the end-of-thinking marker

A model's logits at one position are those of the next token, so the action at column c is scored by the logits of
column c - 1. All arithmetic is float32, whatever the logits' dtype.
"""

import torch
from torch import Tensor

from verl_softthink.laws import NO_CANDIDATE, candidate_log_probs
from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.likelihood.positions import DrawnPositions


def log_density(logits: Tensor, rows: Tensor, positions: DrawnPositions, settings: ScoringSettings) -> Tensor:
    """Score N drawn positions.

    Args:
        logits: [..., V] raw logits of the whole micro-batch, any dtype.
        rows: [N] int64, the flattened position of ``logits`` that scores each drawn position.
        positions: what was drawn.
        settings: the law and its parameters.

    Returns:
        [N] float32, differentiable in the logits.
    """
    law = settings.law
    with torch.autocast(logits.device.type, enabled=False):
        log_probs = _candidate_log_probs(logits, rows, positions.action.ids, settings)
        # Two index lists rather than one torch.where: the formula that does not apply must not reach the gradient.
        soft, token = positions.soft.nonzero()[:, 0], (~positions.soft).nonzero()[:, 0]
        slot = (positions.action.ids == positions.shown[:, None]).int().argmax(-1)
        density = law.log_prob(positions[soft].action, log_probs[soft], settings.parameters(soft))
        token_log_prob = law.token_log_prob(slot[token], log_probs[token], settings.parameters(token))
        return log_probs.new_zeros(len(rows)).index_copy(0, soft, density).index_copy(0, token, token_log_prob)


def _candidate_log_probs(logits: Tensor, rows: Tensor, ids: Tensor, settings: ScoringSettings) -> Tensor:
    if settings.normalise_over == "vocabulary":
        scoring = logits.reshape(-1, logits.shape[-1])[rows].float()
        return candidate_log_probs(scoring / settings.temperature, ids, normalise_over="vocabulary")
    picked = pick(logits, rows, ids.clamp(min=0)).float() / settings.temperature
    # Of the picked logits [N, K] the candidate of slot i is "token" i.
    slots = torch.arange(ids.shape[-1], device=ids.device).expand_as(ids)
    return candidate_log_probs(picked, slots.where(ids != NO_CANDIDATE, NO_CANDIDATE), normalise_over="candidates")


def pick(logits: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
    """The logits of K ids at each of N flattened positions: [..., V], [N] and [N, K] give [N, K].

    The gradient is a sparse tensor: that of dense indexing would be a second array of the size of all logits, which
    is the largest tensor of a training step.
    """
    shape = (*logits.shape[:-1], ids.shape[-1])
    index = ids.new_zeros(shape).reshape(-1, shape[-1]).index_copy(0, rows, ids)
    return logits.gather(-1, index.view(shape), sparse_grad=True).reshape(-1, shape[-1])[rows]
