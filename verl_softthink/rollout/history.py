"""The input embeddings of positions already generated, rebuilt from history: the next step's input, and replay."""

import torch
from torch import Tensor

from verl_softthink.laws import LAWS, Action
from verl_softthink.rollout.draw_embedding import embedding_of_history
from verl_softthink.rollout.embedding import InputEmbedding
from verl_softthink.rollout.state import SoftState


def mixture_embeddings(
    state: SoftState, slots: Tensor, index: Tensor, embedding: InputEmbedding
) -> tuple[Tensor, Tensor]:
    """Input embeddings of already generated positions.

    Args:
        slots, index: [R] int64, the request and the output index of each input row.
        embedding: the input embedding.

    Returns:
        embeddings [R, H] in the table's dtype and soft [R] bool: where false, the row's token is fed as it is.
    """
    ids = state.ids[slots, index].long()
    action = Action(ids=ids, values=state.values[slots, index])
    parameters = state.law_parameters(slots)
    weights = None
    for name in state.laws_alive:
        drawn = LAWS[name].weights(action, parameters)
        own = (state.law[slots] == LAWS.number(name))[:, None]
        weights = drawn if weights is None else torch.where(own, drawn, weights)
    soft = state.phases.soft(slots, index)
    # A row that is not soft has no candidates and its weights may be nan: it mixes nothing.
    weights = torch.where(soft[:, None], weights, 0.0)
    mixed = embedding.mean(ids.clamp(min=0), weights).to(embedding.dtype)
    if state.means_alive:
        drawn = embedding_of_history(state, slots, index, action, embedding)
        mixed = torch.where(state.drawing_embeddings(slots)[:, None], drawn, mixed)
    return mixed, soft
