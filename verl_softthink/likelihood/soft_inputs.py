"""Which kind of input the soft positions of a micro-batch take."""

from functools import partial

import torch
from torch import Tensor

from verl_softthink.laws.gaussian import coordinate_noise
from verl_softthink.likelihood.drawn_embedding import DrawnEmbeddings
from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.likelihood.mixture import Mixtures
from verl_softthink.likelihood.positions import DrawnPositions


def soft_inputs(
    soft: DrawnPositions, index: Tensor, settings: ScoringSettings, vocabulary: int
) -> Mixtures | DrawnEmbeddings:
    """What M soft positions feed.

    Args:
        soft: the positions.
        index: [M] their flattened positions in the input ids.
        settings: the law.
        vocabulary: V, the rows of the table that a mean over the vocabulary takes.
    """
    action = soft.action
    weights = settings.law.weights(action, settings.columns(index))
    if not settings.law.draws_embedding:
        return Mixtures(index, action.ids, weights, settings.detach_inputs)
    if settings.normalise_over == "vocabulary":
        return DrawnEmbeddings(index, torch.arange(vocabulary, device=index.device), action)
    lookup = action.ids.clamp(min=0)
    if settings.carries_embedding:
        return DrawnEmbeddings(index, lookup, action)
    noise = partial(coordinate_noise, soft.seed, soft.index)
    return DrawnEmbeddings(index, lookup, action, weights, noise)
