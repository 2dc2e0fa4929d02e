"""The input embeddings of soft positions: drawn, where a law draws them, and rebuilt from history to be fed.

History gives the next step's input and, after a preemption or behind a soft prefix, the input of a whole replay.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from verl_softthink.laws import LAWS, Action, LawParameters
from verl_softthink.laws.candidate_noise import drawn_weights, is_among_candidates, mean_weights, weights_log_density
from verl_softthink.laws.gaussian import (
    GAMMA,
    coordinate_noise,
    log_density,
    mean_embedding,
    perturb,
    root_mean_square,
)
from verl_softthink.rollout.phase.machine import REASON_BAD_DRAW, REASON_NONE
from verl_softthink.rollout.settings_table import RowSettings
from verl_softthink.rollout.state import SoftState

(_EMBEDDING_LAW,) = (number for number, law in enumerate(LAWS.own) if law.draws_embedding)


@runtime_checkable
class InputEmbedding(Protocol):
    """The input embedding of the model under generation."""

    width: int
    dtype: torch.dtype

    def mean(self, ids: Tensor, weights: Tensor) -> Tensor:
        """[R, H] float32 weighted sums: ids [R, K], weights [R, K] float32."""

    def vocabulary_mean(self, probs: Tensor) -> Tensor:
        """[N, H] float32 weighted sums over the whole table: probs [N, V] float32."""

    def root_mean_square(self) -> Tensor:
        """sqrt(mean of E^2) over the table's entries, a float32 scalar."""


class TableEmbedding:
    """A table [V, H] held whole."""

    def __init__(self, table: Tensor):
        self._table = table
        self.width, self.dtype = table.shape[1], table.dtype

    def mean(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums of rows."""
        return mean_embedding(weights, self._table[ids])

    def vocabulary_mean(self, probs: Tensor) -> Tensor:
        """Weighted sums of all rows."""
        return mean_embedding(probs, self._table)

    def root_mean_square(self) -> Tensor:
        """Over all entries."""
        return root_mean_square(self._table)


def draw_embedding(
    state: SoftState,
    settings: RowSettings,
    scaled: Float[Tensor, "rows vocabulary"],
    index: Int64[Tensor, " rows"],
    action: Action,
    log_prob: Float[Tensor, " rows"],
    embedding: InputEmbedding,
) -> tuple[Action, Float[Tensor, " rows"]]:
    """Draw the embedding of the rows whose law asks for one.

    A mean over the vocabulary is a product of [N, V] by the table for the whole batch, as large as the output head's.

    Args:
        settings: of the N rows.
        scaled: [N, V] logits divided by the temperature.
        index: [N], as in ``soft_step``.
        action: [N, K] what the laws drew.
        log_prob: [N] its density; for these rows that of the shown token.
        embedding: the input embedding.

    Returns:
        the action with ``fed`` [N, H] in the table's dtype and ``scale`` [N], 0 in other rows; and the density [N].
    """
    own, parameters = _draws_embedding(settings), settings.parameters
    gamma = parameters[GAMMA.name]
    unit = torch.where(is_among_candidates(parameters), 1.0, embedding.root_mean_square())
    scale = torch.where(own, gamma * unit, 0.0)
    action = Action(ids=action.ids, values=action.values, scale=scale)
    mean = None
    if "candidates" in state.means_alive:
        weights, certain = drawn_weights(action, settings["seed"], index, parameters), mean_weights(action)
        mean = embedding.mean(action.ids.clamp(min=0), weights)
        # Equal where the noise is isotropic: their difference has density 1.
        log_prob = log_prob + weights_log_density(weights, certain, certain, scale)
    if "vocabulary" in state.means_alive:
        whole = embedding.vocabulary_mean(scaled.softmax(-1))
        mean = whole if mean is None else torch.where(settings.over_vocabulary[:, None], whole, mean)
    isotropic = _isotropic_scale(scale, parameters)
    fed = _draw(mean, isotropic, settings["seed"], index, embedding)
    log_prob = log_prob + log_density(fed, mean, isotropic)
    return Action(ids=action.ids, values=action.values, fed=fed, scale=scale), log_prob


def mixture_embeddings(
    state: SoftState, slots: Int64[Tensor, " rows"], index: Int64[Tensor, " rows"], embedding: InputEmbedding
) -> tuple[Float[Tensor, "rows hidden"], Bool[Tensor, " rows"]]:
    """Input embeddings of already generated positions.

    In place of one that is not finite zeros are fed: it would stay in the blocks of the cache and poison whoever gets
    them next. ``state.fault`` says so, and the request's next step ends it.

    Args:
        slots, index: [R] int64, the request and the output index of each input row.
        embedding: the input embedding.

    Returns:
        embeddings [R, H] in the table's dtype and soft [R] bool: where false, the row's token is fed as it is.
    """
    at = state.at(slots, index)
    settings = state.read(slots)
    ids = state.ids.flatten(0, 1).index_select(0, at).long()
    action = Action(ids=ids, values=state.values.flatten(0, 1).index_select(0, at))
    parameters = settings.parameters
    weights = None
    for name in state.laws_alive:
        drawn = LAWS[name].weights(action, parameters)
        own = settings.has_law(name)[:, None]
        weights = drawn if weights is None else torch.where(own, drawn, weights)
    soft = state.phases.soft(slots, index)
    # A row that is not soft has no candidates and its weights may be nan: it mixes nothing.
    weights = torch.where(soft[:, None], weights, 0.0)
    mixed = embedding.mean(ids.clamp(min=0), weights).to(embedding.dtype)
    if state.means_alive:
        drawn = _embedding_of_history(state, settings, at, index, action, embedding)
        mixed = torch.where(_draws_embedding(settings)[:, None], drawn, mixed)
    unfed = soft & ~mixed.isfinite().all(-1)
    state.fault.scatter_reduce_(0, slots, torch.where(unfed, REASON_BAD_DRAW, REASON_NONE), "amax")
    return torch.where(unfed[:, None], 0.0, mixed), soft


def _embedding_of_history(
    state: SoftState, settings: RowSettings, at: Tensor, index: Tensor, action: Action, embedding: InputEmbedding
) -> Tensor:
    """[R, H] the embeddings that were drawn at already generated positions: kept, or rebuilt from mean and seed."""
    fed = None
    if state.rebuilds_embeddings:
        seed, parameters = state.seeds.take(at), settings.parameters
        action = Action(ids=action.ids, values=action.values, scale=state.scale.take(at))
        mean = embedding.mean(action.ids.clamp(min=0), drawn_weights(action, seed, index, parameters))
        fed = _draw(mean, _isotropic_scale(action.scale, parameters), seed, index, embedding)
    if state.carries_embeddings:
        kept = state.fed.flatten(0, 1).index_select(0, at)
        fed = kept if fed is None else torch.where(settings["carries_embedding"].bool()[:, None], kept, fed)
    return fed


def _draw(mean: Tensor, scale: Tensor, seed: Tensor, index: Tensor, embedding: InputEmbedding) -> Tensor:
    """The same arithmetic at the draw and in every replay."""
    return perturb(mean, scale, coordinate_noise(seed, index, embedding.width)).to(embedding.dtype)


def _draws_embedding(settings: RowSettings) -> Tensor:
    """[N] bool, rows whose law draws an embedding."""
    return settings["law"] == _EMBEDDING_LAW


def _isotropic_scale(scale: Tensor, parameters: LawParameters) -> Tensor:
    """[N] scale of the noise on every coordinate: none where it is on the weights."""
    return torch.where(is_among_candidates(parameters), 0.0, scale)
