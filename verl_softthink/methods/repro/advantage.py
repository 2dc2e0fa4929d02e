"""Process advantages: what is added, times alpha, to the outcome advantage of the algorithm in use.

| algorithm                    | rewards of pieces                                               | then          |
|------------------------------|-----------------------------------------------------------------|---------------|
| GRPO                         | all pieces of one prompt pooled: (r - mean) / (std + 1e-6)       | reward to go  |
| RLOO                         | r - mean over the pieces of the prompt's *other* responses       | reward to go  |
| REINFORCE++                  | whitened over the batch                                         | reward to go  |
| REINFORCE++-baseline         | r - mean over the prompt                                        | reward to go  |
| GAE (PPO)                    | as GRPO                                                         | GAE, whitened |

The sum is not whitened again. All pieces equal: all advantages 0. A single piece in a pool has nothing to be compared
with: 0, except under RLOO, where a response without siblings keeps its rewards, as verl's RLOO does.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from verl_softthink.methods.repro.placement import place, to_go

#: Added to standard deviations, as published; about 1e-5 of a typical one.
STD_OFFSET = 1e-6
#: (rewards [N, E], exists [N, E], groups [N] int64) -> [N, E]
Normaliser = Callable[[Tensor, Tensor, Tensor], Tensor]


def group_normalised(rewards: Tensor, exists: Tensor, groups: Tensor) -> Tensor:
    """Pool the pieces of each prompt: mean 0, standard deviation (n - 1) 1."""
    centred = group_centred(rewards, exists, groups)
    pieces = _sums(exists.to(rewards.dtype), groups)
    std = (_sums(centred.square(), groups) / (pieces - 1).clamp(min=1)).sqrt()
    return centred / (std[groups] + STD_OFFSET)[:, None]


def group_centred(rewards: Tensor, exists: Tensor, groups: Tensor) -> Tensor:
    """Subtract the mean over the pieces of each prompt."""
    pieces = _sums(exists.to(rewards.dtype), groups)
    mean = _sums(rewards.where(exists, 0.0), groups) / pieces.clamp(min=1)
    return (rewards - mean[groups][:, None]).where(exists, 0.0)


def leave_one_out(rewards: Tensor, exists: Tensor, groups: Tensor) -> Tensor:
    """Subtract the mean over the pieces of the prompt's other responses; nothing where these have none."""
    own, own_pieces = rewards.where(exists, 0.0).sum(-1), exists.sum(-1)
    others = _sums(own[:, None], groups)[groups] - own
    pieces = _sums(own_pieces[:, None], groups)[groups] - own_pieces
    return (rewards - (others / pieces.clamp(min=1))[:, None]).where(exists, 0.0)


def batch_whitened(rewards: Tensor, exists: Tensor, groups: Tensor) -> Tensor:
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
    rewards: Tensor,
    cuts: Tensor,
    exists: Tensor,
    groups: Tensor,
    mask: Tensor,
    *,
    values: Tensor | None = None,
    gamma: float = 1.0,
    lam: float = 1.0,
) -> Tensor:
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
    placed = place(normal, cuts, exists, mask.shape[1])
    if estimator == "gae":
        return whitened(generalised_advantage(placed, values, mask, gamma, lam), mask)
    return to_go(placed) * mask


def generalised_advantage(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """GAE (arXiv 1506.02438) over the masked tokens of [N, T]; tokens outside the mask are skipped over."""
    advantages, following, carried = torch.zeros_like(values), 0.0, 0.0
    for t in range(values.shape[1] - 1, -1, -1):
        here = mask[:, t].bool()
        delta = rewards[:, t] + gamma * following - values[:, t]
        advantages[:, t] = torch.where(here, delta + gamma * lam * carried, 0.0)
        following = torch.where(here, values[:, t], following)
        carried = torch.where(here, advantages[:, t], carried)
    return advantages


def whitened(values: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the masked tokens of [N, T], 0 elsewhere."""
    row = torch.zeros(1, dtype=torch.int64, device=values.device)
    return group_normalised(values.reshape(1, -1), mask.bool().reshape(1, -1), row).view_as(values)


def _sums(values: Tensor, groups: Tensor) -> Tensor:
    """[N] sums of [N, E] over all rows with the same group."""
    return values.new_zeros(len(groups)).index_add(0, groups, values.sum(-1))
