"""Weighted likelihood: ``actor_rollout_ref.actor.policy_loss.loss_mode=variational``.

    loss = -(1 / B) sum_x sum_k w_k sum_t log pi(token_t) / C        advantages hold K w_k, verl averages over B K rows

The gradient of the K-thought bound (arXiv 2509.22637): no ratio to an old policy, since the weights are the whole
importance correction, and no clipping. Token log-probs are summed and divided by one constant C (Dr. SFT), since a mean
over tokens would weigh thoughts by their length again: ``loss_agg_mode=seq-mean-token-sum-norm`` with
``loss_scale_factor`` = C.
"""

from types import ModuleType

from torch import Tensor

NAME = "variational"
AGGREGATION = "seq-mean-token-sum-norm"


def weighted_log_likelihood(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str,
    config: object,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """verl's interface; tensors are [N, T].

    Raises:
        ValueError: an aggregation other than token sums over a constant, or importance weights of verl's own.
    """
    from verl.trainer.ppo.core_algos import agg_loss

    if loss_agg_mode != AGGREGATION or config.loss_scale_factor is None:
        raise ValueError(
            f"actor.policy_loss.loss_mode={NAME} sums over tokens and divides by a constant, but "
            f"actor.loss_agg_mode={loss_agg_mode!r} and actor.loss_scale_factor={config.loss_scale_factor}; set "
            f"{AGGREGATION!r} and a number of tokens, e.g. data.max_response_length"
        )
    if rollout_is_weights is not None:
        raise ValueError(
            f"actor.policy_loss.loss_mode={NAME}: the batch has rollout_is_weights, a second importance correction; "
            "set algorithm.rollout_correction.rollout_is=null"
        )
    loss = agg_loss(
        loss_mat=-advantages * log_prob,
        loss_mask=response_mask,
        loss_agg_mode=loss_agg_mode,
        **config.global_batch_info,
    )
    return loss, {}


def register(core_algos: ModuleType) -> None:
    """``verl.trainer.ppo.core_algos``: add the loss."""
    core_algos.register_policy_loss(NAME)(weighted_log_likelihood)
