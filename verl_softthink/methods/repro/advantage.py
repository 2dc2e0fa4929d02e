"""Process advantages: alpha times these is added to the outcome advantage of the algorithm in use.

| algorithm                    | rewards of pieces                                               | then          |
|------------------------------|-----------------------------------------------------------------|---------------|
| GRPO                         | all pieces of one prompt pooled: (r - mean) / (std + 1e-6)       | reward to go  |
| RLOO                         | r - mean over the pieces of the prompt's *other* responses       | reward to go  |
| REINFORCE++                  | whitened over the batch                                         | reward to go  |
| REINFORCE++-baseline         | r - mean over the prompt                                        | reward to go  |
| GAE (PPO)                    | as GRPO                                                         | GAE, whitened |

The sum is not whitened again. If all pieces of a pool are equal, or there is only one, their advantages are 0, except
under RLOO, where a response without siblings keeps its rewards, as in verl's RLOO.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from verl_softthink.methods.repro.rewards import reward_to_go, rewards_on_tokens

#: Added to standard deviations, as published; about 1e-5 of a typical one.
STD_OFFSET = 1e-6
#: Tensors of N responses with up to E pieces.
PieceRewards = Float[Tensor, "responses pieces"]
PieceMask = Bool[Tensor, "responses pieces"]
Groups = Int[Tensor, " responses"]
#: (rewards [N, E], exists [N, E], groups [N] int64) -> [N, E]
Normaliser = Callable[[PieceRewards, PieceMask, Groups], PieceRewards]


def group_normalised(rewards: PieceRewards, exists: PieceMask, groups: Groups) -> PieceRewards:
    """Mean 0 and standard deviation (over n - 1) 1 over all pieces of each prompt."""
    centred = group_centred(rewards, exists, groups)
    pieces = _sums(exists.to(rewards.dtype), groups)
    std = (_sums(centred.square(), groups) / (pieces - 1).clamp(min=1)).sqrt()
    return centred / (std[groups] + STD_OFFSET)[:, None]


def group_centred(rewards: PieceRewards, exists: PieceMask, groups: Groups) -> PieceRewards:
    """Subtract the mean over the pieces of each prompt."""
    pieces = _sums(exists.to(rewards.dtype), groups)
    mean = _sums(rewards.where(exists, 0.0), groups) / pieces.clamp(min=1)
    return (rewards - mean[groups][:, None]).where(exists, 0.0)


def leave_one_out(rewards: PieceRewards, exists: PieceMask, groups: Groups) -> PieceRewards:
    """Subtract the mean over the pieces of the prompt's other responses; 0 where these have none."""
    own, own_pieces = rewards.where(exists, 0.0).sum(-1), exists.sum(-1)
    others = _sums(own[:, None], groups)[groups] - own
    pieces = _sums(own_pieces[:, None], groups)[groups] - own_pieces
    return (rewards - (others / pieces.clamp(min=1))[:, None]).where(exists, 0.0)


def batch_whitened(rewards: PieceRewards, exists: PieceMask, groups: Groups) -> PieceRewards:
    """Mean 0 and standard deviation 1 over all pieces of the batch."""
    return group_normalised(rewards, exists, torch.zeros_like(groups))


#: By the name of verl's advantage estimator.
NORMALISERS: dict[str, Normaliser] = {
    "grpo": group_normalised,
    "grpo_vectorized": group_normalised,
    "rloo": leave_one_out,
    "rloo_vectorized": leave_one_out,
    "reinforce_plus_plus": batch_whitened,
    "reinforce_plus_plus_baseline": group_centred,
    "gae": group_normalised,
}


def process_advantage(
    estimator: str,
    rewards: PieceRewards,
    cuts: Int[Tensor, "responses pieces+1"],
    exists: PieceMask,
    groups: Groups,
    mask: Num[Tensor, "responses tokens"],
    *,
    values: Float[Tensor, "responses tokens"] | None = None,
    gamma: float = 1.0,
    lam: float = 1.0,
) -> Float[Tensor, "responses tokens"]:
    """Process advantage of every token.

    Args:
        estimator: name of verl's advantage estimator, a key of ``NORMALISERS``.
        rewards: [N, P - 1] rewards of pieces.
        cuts: [N, P] cuts.
        exists: [N, P - 1] bool, which pieces are real.
        groups: [N] int64 in [0, N), the prompt of each response.
        mask: [N, T] response tokens.
        values: [N, T] the critic's values, for "gae" only.
        gamma, lam: of "gae".

    Returns:
        [N, T], 0 outside the mask.

    Raises:
        KeyError: unknown estimator.
    """
    normal = NORMALISERS[estimator](rewards, exists, groups)
    token_rewards = rewards_on_tokens(normal, cuts, exists, mask.shape[1])
    if estimator == "gae":
        return whitened(generalised_advantage(token_rewards, values, mask, gamma, lam), mask)
    return reward_to_go(token_rewards) * mask


def generalised_advantage(
    rewards: Float[Tensor, "responses tokens"],
    values: Float[Tensor, "responses tokens"],
    mask: Num[Tensor, "responses tokens"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "responses tokens"]:
    """GAE (arXiv 1506.02438) over the masked tokens of [N, T]; tokens outside the mask are skipped."""
    advantages, following, carried = torch.zeros_like(values), 0.0, 0.0
    for t in range(values.shape[1] - 1, -1, -1):
        here = mask[:, t].bool()
        delta = rewards[:, t] + gamma * following - values[:, t]
        advantages[:, t] = torch.where(here, delta + gamma * lam * carried, 0.0)
        following = torch.where(here, values[:, t], following)
        carried = torch.where(here, advantages[:, t], carried)
    return advantages


def whitened(
    values: Float[Tensor, "responses tokens"], mask: Num[Tensor, "responses tokens"]
) -> Float[Tensor, "responses tokens"]:
    """Mean 0 and standard deviation 1 over the masked tokens of [N, T], 0 elsewhere."""
    row = torch.zeros(1, dtype=torch.int64, device=values.device)
    return group_normalised(values.reshape(1, -1), mask.bool().reshape(1, -1), row).view_as(values)


def _sums(values: Num[Tensor, "responses entries"], groups: Groups) -> Num[Tensor, " responses"]:
    """[N], by group: the sum of [N, E] over the rows of that group."""
    return values.new_zeros(len(groups)).index_add(0, groups, values.sum(-1))
