"""Rejection-sampling fine-tuning, on-policy: ``algorithm.adv_estimator=rejection_sampling``. A_k = r_k.

Right responses are imitated, wrong ones ignored, and nothing depends on the group: the expected gradient is
P grad log P, so a question counts the less the harder it is. The twin of ``variational``, which divides by the group's
mean reward.
"""

from types import ModuleType

import numpy
from torch import Tensor

NAME = "rejection_sampling"


def rejection_sampling_advantage(
    token_level_rewards: Tensor, response_mask: Tensor, index: numpy.ndarray, **settings: object
) -> tuple[Tensor, Tensor]:
    """verl's interface: advantages and returns, both [N, T], the response's reward at every token of it."""
    scores = token_level_rewards.detach().sum(dim=-1, keepdim=True) * response_mask
    return scores, scores


def register(core_algos: ModuleType) -> None:
    """``verl.trainer.ppo.core_algos``: add the estimator."""
    core_algos.register_adv_est(NAME)(rejection_sampling_advantage)
