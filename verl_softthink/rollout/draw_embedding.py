"""Soft steps of laws whose draw is an embedding: the mean, the noise, the density."""

import torch
from torch import Tensor

from verl_softthink.laws import Action
from verl_softthink.laws.gaussian import GAMMA, coordinate_noise, log_density, perturb
from verl_softthink.rollout.embedding import InputEmbedding
from verl_softthink.rollout.state import SoftState


def draw_embedding(
    state: SoftState,
    scaled: Tensor,
    slots: Tensor,
    index: Tensor,
    action: Action,
    log_prob: Tensor,
    embedding: InputEmbedding,
) -> tuple[Action, Tensor]:
    """Draw the embedding of the rows whose law asks for one.

    A mean over the vocabulary is a product of [N, V] by the table for the whole batch, as large as the output head's.

    Args:
        scaled: [N, V] logits divided by the temperature.
        slots, index: [N], as in ``soft_step``.
        action: [N, K] what the laws drew.
        log_prob: [N] its density, 0 for these rows.
        embedding: the input embedding.

    Returns:
        the action with ``fed`` [N, H] in the table's dtype and ``scale`` [N], 0 in other rows; and the density [N].
    """
    own = state.drawing_embeddings(slots)
    mean = None
    if "candidates" in state.means_alive:
        mean = embedding.mean(action.ids.clamp(min=0), _mean_weights(action))
    if "vocabulary" in state.means_alive:
        whole = embedding.vocabulary_mean(scaled.softmax(-1))
        mean = whole if mean is None else torch.where(state.over_vocabulary[slots][:, None], whole, mean)
    gamma = state.parameters[GAMMA.name][slots]
    scale = torch.where(own, gamma * embedding.root_mean_square(), 0.0)
    fed = _draw(mean, scale, state.seed[slots], index, embedding)
    log_prob = torch.where(own, log_density(fed, mean, scale), log_prob)
    return Action(ids=action.ids, values=action.values, fed=fed, scale=scale), log_prob


def embedding_of_history(
    state: SoftState, slots: Tensor, index: Tensor, action: Action, embedding: InputEmbedding
) -> Tensor:
    """[R, H] the embeddings that were drawn at already generated positions: kept, or rebuilt from mean and seed."""
    fed = None
    if state.rebuilds_embeddings:
        mean = embedding.mean(action.ids.clamp(min=0), _mean_weights(action))
        fed = _draw(mean, state.scale[slots, index], state.seeds[slots, index], index, embedding)
    if state.carries_embeddings:
        kept = state.fed[slots, index]
        fed = kept if fed is None else torch.where(state.carries_embedding[slots][:, None], kept, fed)
    return fed


def _draw(mean: Tensor, scale: Tensor, seed: Tensor, index: Tensor, embedding: InputEmbedding) -> Tensor:
    """One arithmetic for the first draw and for every replay."""
    return perturb(mean, scale, coordinate_noise(seed, index, embedding.width)).to(embedding.dtype)


def _mean_weights(action: Action) -> Tensor:
    weights = action.values.masked_fill(~action.mask, -torch.inf).softmax(-1)
    # A row without candidates has nan weights and mixes nothing.
    return torch.where(action.mask, weights, 0.0)
