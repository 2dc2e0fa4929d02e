"""REINFORCE on whole responses, the loss of Soft Tokens (arXiv 2509.19170): no ratio, no clip, no KL, no length.

    L = -(1 / BG) sum_{b,g} A_{b,g} sum_t log pi(a_t | a_<t)        B prompts of G responses in a mini-batch

The likelihood of a response is a product over its positions, so its logarithm is their sum: longer responses weigh
more, by design. The gradient is that of expected reward only on-policy, with one update per batch of rollouts
(``data.train_batch_size = actor.ppo_mini_batch_size``, ``actor.ppo_epochs = 1``). At soft positions the ratio to an
older policy is that of densities in thousands of dimensions and explodes at the slightest drift, which is why there is
none here; ``actor/log_ratio_std`` watches the drift.
"""

from types import ModuleType

import torch
from torch import Tensor

NAME = "reinforce_sum"
#: The only aggregation that is the method's: sum over tokens, mean over the responses of the mini-batch.
AGGREGATION = "seq-mean-token-sum"


def reinforce_terms(log_prob: Tensor, advantages: Tensor) -> Tensor:
    """-A log pi of every position, to be summed.

    Args:
        log_prob: [B, T] log-probabilities or log-densities.
        advantages: [B, T], the advantage of the response at each of its positions.
    """
    return -advantages * log_prob


def log_ratio_spread(old_log_prob: Tensor, log_prob: Tensor, mask: Tensor) -> float:
    """Root mean square over positions [B, T] of log pi - log pi_old, in nats; 0 without positions."""
    if not mask.any():
        return 0.0
    return float((log_prob - old_log_prob).detach()[mask.bool()].square().mean().sqrt())


def actor_problems(
    *, loss_agg_mode: str, ppo_epochs: int, ppo_mini_batch_size: int, train_batch_size: int
) -> list[str]:
    """What the loss is not, in sentences: another aggregation, or several updates for a batch of rollouts."""
    problems = []
    if loss_agg_mode != AGGREGATION:
        problems.append(
            f"actor_rollout_ref.actor.loss_agg_mode={loss_agg_mode!r} with policy_loss.loss_mode={NAME!r}: the loss is "
            f"a sum over the tokens of a response; set it to {AGGREGATION!r}"
        )
    if ppo_epochs > 1 or ppo_mini_batch_size < train_batch_size:
        problems.append(
            f"policy_loss.loss_mode={NAME!r} has no ratio to an older policy, so a batch of rollouts serves one "
            f"update: set actor_rollout_ref.actor.ppo_epochs=1 (is {ppo_epochs}) and actor_rollout_ref.actor."
            f"ppo_mini_batch_size={train_batch_size} (is {ppo_mini_batch_size}), data.train_batch_size being that"
        )
    return problems


def register(core_algos: ModuleType) -> None:
    """``verl.trainer.ppo.core_algos``: add the policy loss ``reinforce_sum``."""

    @core_algos.register_policy_loss(NAME)
    def reinforce_sum(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str,
        config,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """verl's signature; all tensors [B, T].

        Raises:
            ValueError: another aggregation than the method's, or importance weights, naming the key and the fix.
        """
        if loss_agg_mode != AGGREGATION:
            raise ValueError(
                f"actor_rollout_ref.actor.loss_agg_mode={loss_agg_mode!r} with policy_loss.loss_mode={NAME!r}: the "
                f"loss is a sum over the tokens of a response; set it to {AGGREGATION!r}"
            )
        if rollout_is_weights is not None:
            raise ValueError(
                f"algorithm.rollout_correction.rollout_is is set with policy_loss.loss_mode={NAME!r}, which has no "
                "importance weights; set it to null"
            )
        loss = core_algos.agg_loss(
            loss_mat=torch.where(response_mask.bool(), reinforce_terms(log_prob, advantages), 0.0),
            loss_mask=response_mask,
            loss_agg_mode=AGGREGATION,
            **config.global_batch_info,
        )
        return loss, {"actor/log_ratio_std": log_ratio_spread(old_log_prob, log_prob, response_mask)}
