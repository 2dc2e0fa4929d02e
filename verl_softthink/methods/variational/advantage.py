"""On-policy variational reasoning (arXiv 2509.22637 with q the model itself): ``algorithm.adv_estimator=variational``.

The gradient of the K-trace bound with q = stop-gradient(pi) weighs trace k by r_k / sum_j r_j, r being its verdict or
the mean verdict of several answers. Times K, and less the control variate 1, which has mean zero:

    A_k = K r_k / sum_j r_j - 1 = (r_k - mean r) / mean r,        0 for every k if all r are 0

Between -1 and K - 1. For verdicts of 0 and 1 the expected gradient is (1 - (1 - P)^{K-1}) grad log P, P being the
probability of a right answer: it grows with K towards maximum likelihood, where GRPO has sqrt(P / (1 - P)) and plain
REINFORCE has P. The same advantage was published later as MaxRL (arXiv 2602.02710).
"""

from types import ModuleType

import numpy
import torch
from torch import Tensor

from verl_softthink.methods.variational.groups import group_sizes, self_normalise

NAME = "variational"


def advantages(rewards: Tensor, group: Tensor) -> Tensor:
    """A of every response.

    Args:
        rewards: [N] at least 0.
        group: [N] int64, the question of each response.

    Raises:
        ValueError: a negative reward, which is no weight.
    """
    if (rewards < 0).any():
        raise ValueError(
            f"reward {rewards.min():g} is negative: algorithm.adv_estimator={NAME} weighs responses by their reward; "
            "use one that is at least 0, and set algorithm.use_kl_in_reward=False"
        )
    weights = self_normalise(rewards.log(), group)
    scaled = group_sizes(group)[group] * weights - 1
    return scaled.masked_fill(~_has_weight(weights, group), 0.0)


def _has_weight(weights: Tensor, group: Tensor) -> Tensor:
    return torch.zeros(len(weights), dtype=weights.dtype).index_add(0, group, weights)[group] > 0


def variational_advantage(
    token_level_rewards: Tensor, response_mask: Tensor, index: numpy.ndarray, **settings: object
) -> tuple[Tensor, Tensor]:
    """verl's interface: advantages and returns, both [N, T], the same at every token of a response.

    Rows without a response token are verl's padding and belong to no group. Every other row counts as a response: where
    an agent loop returns several rows for one, ``sessions.py`` passes the last ones only.

    Args:
        token_level_rewards: [N, T]; their sum is the response's reward.
        response_mask: [N, T].
        index: [N] names of the questions.
        settings: what verl passes to every estimator; nothing in it matters here.
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


def register(core_algos: ModuleType) -> None:
    """``verl.trainer.ppo.core_algos``: add the estimator."""
    core_algos.register_adv_est(NAME)(variational_advantage)
