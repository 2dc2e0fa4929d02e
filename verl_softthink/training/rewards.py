"""Rewards at positions that nobody sampled, moved to where verl's estimators find them.

verl puts the reward of a response on its last token, and GAE, REINFORCE++ and ReMax read rewards through the response
mask. A token that phase control forces, such as the stop token at ``softthink.phase.answer_budget``, has mask 0,
because nobody sampled it and the loss must not see it: a reward on it would be lost. The mask is right, so the reward
moves: to the last sampled position before it, where a reward for the response so far belongs. Sums over a response
stay.
"""

import torch
from jaxtyping import Float, Num
from torch import Tensor
from transfer_queue import KVBatchMeta

from verl_softthink.batch import get, put_rows, values_of


def on_sampled_positions(rewards: Float[Tensor, " T"], mask: Num[Tensor, " T"]) -> Float[Tensor, " T"]:
    """The rewards of one response [T], each at the last position up to its own with mask 1.

    Rewards before the first such position move to it. A response without one, as verl's padding, is left as it is.
    """
    sampled = mask.bool().nonzero()[:, 0]
    if len(sampled) == 0:
        return rewards
    place = torch.searchsorted(sampled, torch.arange(len(rewards), device=rewards.device), right=True) - 1
    return torch.zeros_like(rewards).index_add(0, sampled[place.clamp(min=0)], rewards)


def move_rewards(batch: KVBatchMeta) -> None:
    """Do so with the ``rm_scores`` of every row of a batch."""
    rows = get(batch.keys, batch.partition_id, ["rm_scores", "response_mask"])
    columns = (values_of(rows[name]) for name in ("rm_scores", "response_mask"))
    moved = {
        key: found
        for key, rewards, mask in zip(batch.keys, *columns, strict=True)
        if not (found := on_sampled_positions(rewards, mask)).equal(rewards)
    }
    if moved:
        put_rows(list(moved), batch.partition_id, {"rm_scores": list(moved.values())})
