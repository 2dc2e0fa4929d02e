"""verl's registries of what a configuration can name, read when asked, because importing them takes seconds."""

from collections.abc import Mapping


def policy_losses() -> Mapping[str, object]:
    """``policy_loss.loss_mode``."""
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

    return POLICY_LOSS_REGISTRY


def estimators() -> Mapping[str, object]:
    """``algorithm.adv_estimator``."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    return ADV_ESTIMATOR_REGISTRY


def rejections() -> Mapping[str, object]:
    """Parts of ``rollout_correction.rollout_rs``, all of them verl's own."""
    from verl.trainer.ppo.rollout_corr_helper import SUPPORTED_ROLLOUT_RS_OPTIONS, compute_rollout_rejection_mask

    return dict.fromkeys(SUPPORTED_ROLLOUT_RS_OPTIONS, compute_rollout_rejection_mask)


def reward_managers() -> Mapping[str, object]:
    """``reward.reward_manager.name`` where its source is ``register``."""
    from verl.experimental.reward_loop.reward_manager import registry

    return registry.REWARD_MANAGER
