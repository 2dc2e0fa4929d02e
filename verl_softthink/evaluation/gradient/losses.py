"""Advantage and loss of the recipes, from verl's registries, at the on-policy point.

| name | advantage | loss | recipe |
|---|---|---|---|
| reinforce | leave-one-out, ``rloo`` | ``reinforce_sum``: sum over a response, mean over responses | soft_tokens |
| grpo | normalised by the group, ``grpo`` | PPO's clipped ratio, mean over all tokens | soft_grpo |

On-policy the ratio is 1 and nothing is clipped. There is no KL term: its gradient is zero where the policy is its own
reference. Rewards are 1 for a right answer and 0 for any other, so that laws are compared on one scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from tensordict import TensorDict
from torch import Tensor

from verl_softthink.training import reinforce_sum


@dataclass(frozen=True)
class Loss:
    """Names in verl's registries.

    Attributes:
        estimator: ``algorithm.adv_estimator``.
        loss_mode: ``actor_rollout_ref.actor.policy_loss.loss_mode``.
        aggregation: ``actor_rollout_ref.actor.loss_agg_mode``.
    """

    estimator: str
    loss_mode: str
    aggregation: str


REINFORCE, GRPO = "reinforce", "grpo"
LOSSES: dict[str, Loss] = {
    REINFORCE: Loss("rloo", reinforce_sum.NAME, reinforce_sum.AGGREGATION),
    GRPO: Loss("grpo", "vanilla", "token-mean"),
}


def advantages(loss: Loss, rewards: Sequence[float], responses: int) -> Float32[Tensor, " rows"]:
    """[N] advantage of every response.

    Args:
        rewards: [N], the responses of a prompt one after another.
        responses: of each prompt.
    """
    import numpy as np
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    column = torch.tensor(rewards, dtype=torch.float32)[:, None]
    groups = np.arange(len(rewards)) // responses
    found, _ = get_adv_estimator_fn(loss.estimator)(
        token_level_rewards=column, response_mask=torch.ones_like(column), index=groups
    )
    return found[:, 0]


def on_policy(loss: Loss) -> Callable[..., tuple[Tensor, dict]]:
    """verl's actor loss, whose old log-probs are the current ones."""
    from verl.workers.config import FSDPActorConfig, PolicyLossConfig
    from verl.workers.utils.losses import ppo_loss
    from verl.workers.utils.padding import no_padding_2_padding

    config = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        policy_loss=PolicyLossConfig(loss_mode=loss.loss_mode),
        loss_agg_mode=loss.aggregation,
        use_torch_compile=False,
    )

    def actor_loss(model_output: dict, data: TensorDict, dp_group=None) -> tuple[Tensor, dict]:
        log_probs = no_padding_2_padding(model_output["log_probs"].detach(), data)
        lengths = data["response_mask"].offsets().diff().tolist()
        rows = [row[:length] for row, length in zip(log_probs, lengths, strict=True)]
        data["old_log_probs"] = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
        return ppo_loss(config, model_output, data, dp_group)

    return actor_loss
