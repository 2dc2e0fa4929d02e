"""Two advantage estimators for ordinary rollouts, ``algorithm.adv_estimator=variational`` and ``rejection_sampling``.

variational: the K-thought bound of arXiv 2509.22637 with q = stop-gradient(pi) weighs thought k by r_k / sum_j r_j,
where r is its reward or the mean reward of several answers. Times K, and with the control variate 1, which has mean
zero:

    A_k = K r_k / sum_j r_j - 1 = (r_k - mean r) / mean r,        0 for every k if all r are 0

in [-1, K - 1]. For rewards of 0 and 1 the expected gradient is (1 - (1 - P)^{K-1}) grad log P, with P the probability
of a right answer: with growing K it tends to maximum likelihood, where GRPO has the factor sqrt(P / (1 - P)) and plain
REINFORCE has P. The same advantage was published later as MaxRL (arXiv 2602.02710).

rejection_sampling: A_k = r_k, on-policy rejection-sampling fine-tuning. Right responses are imitated, wrong ones
ignored. Nothing depends on the group: the expected gradient is P grad log P, so harder questions count for less.
"""

from types import ModuleType

import numpy
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from verl_softthink.methods.variational.weighting import group_sizes, self_normalise

VARIATIONAL, REJECTION_SAMPLING = "variational", "rejection_sampling"


def advantages(rewards: Float[Tensor, " responses"], group: Int[Tensor, " responses"]) -> Float[Tensor, " responses"]:
    """A of every response.

    Args:
        rewards: [N] at least 0.
        group: [N] int64, the question of each response.

    Raises:
        ValueError: a negative reward, which is no weight.
    """
    if (rewards < 0).any():
        raise ValueError(
            f"reward {rewards.min():g} is negative: algorithm.adv_estimator={VARIATIONAL} weighs responses by their "
            "reward; use one that is at least 0, and set algorithm.use_kl_in_reward=False"
        )
    weights = self_normalise(rewards.log(), group)
    sizes = group_sizes(group)
    solved = weights.new_zeros(len(sizes)).index_add(0, group, weights) > 0
    return (sizes[group] * weights - 1).masked_fill(~solved[group], 0.0)


def variational_advantage(
    token_level_rewards: Float[Tensor, "responses tokens"],
    response_mask: Num[Tensor, "responses tokens"],
    index: numpy.ndarray,
    **settings: object,
) -> tuple[Float[Tensor, "responses tokens"], Float[Tensor, "responses tokens"]]:
    """verl's interface: advantages and returns, both [N, T], the same at every token of a response.

    Rows without a response token are verl's padding and belong to no group. Every other row counts as a response; of a
    response that an agent loop returns as several rows, ``training/multi_row_responses.py`` passes only the last.

    Args:
        token_level_rewards: [N, T]; their sum is the response's reward.
        response_mask: [N, T].
        index: [N] names of the questions.
        settings: further arguments that verl passes to every estimator, not used here.
    """
    with torch.no_grad():
        real = response_mask.bool().any(dim=-1)
        rewards = token_level_rewards.sum(dim=-1)
        scores = torch.zeros_like(rewards)
        if real.any():
            _, group = numpy.unique(numpy.asarray(index)[real.cpu().numpy()], return_inverse=True)
            scores[real] = advantages(rewards[real], torch.from_numpy(group).to(rewards.device))
        scores = scores[:, None] * response_mask
    return scores, scores


def rejection_sampling_advantage(
    token_level_rewards: Float[Tensor, "responses tokens"],
    response_mask: Num[Tensor, "responses tokens"],
    index: numpy.ndarray | None,
    **settings: object,
) -> tuple[Float[Tensor, "responses tokens"], Float[Tensor, "responses tokens"]]:
    """verl's interface: advantages and returns, both [N, T], the reward of the response at every token of it."""
    scores = token_level_rewards.detach().sum(dim=-1, keepdim=True) * response_mask
    return scores, scores


def register(core_algos: ModuleType) -> None:
    """``verl.trainer.ppo.core_algos``: add both estimators."""
    core_algos.register_adv_est(VARIATIONAL)(variational_advantage)
    core_algos.register_adv_est(REJECTION_SAMPLING)(rejection_sampling_advantage)
