"""The combinations that the anchor does not support, in one line each."""

from omegaconf import DictConfig, OmegaConf


def problems(config: DictConfig, settings) -> list[str]:
    """One sentence for each setting that the anchor does not support, with the key, its value and the fix."""
    found, anchor = [], settings.thought_anchor
    if settings.law is None:
        found.append(
            "softthink.law=None with softthink.thought_anchor: there are no soft positions to hold; add soft_grpo to "
            "+softthink, or remove thought_anchor"
        )
    kl_loss = "actor_rollout_ref.actor.use_kl_loss"
    reward = OmegaConf.select(config, "algorithm.use_kl_in_reward")
    if anchor.coefficient and not (OmegaConf.select(config, kl_loss) or reward):
        found.append(
            f"{kl_loss}=False with softthink.thought_anchor.coefficient={anchor.coefficient}: no reference model is "
            f"loaded; set {kl_loss}=True, with actor_rollout_ref.actor.kl_loss_coef=0 if only thoughts are to be held"
        )
    if anchor.coefficient and settings.attnrl is not None and settings.attnrl.shared_prefix == "dedup":
        found.append(
            "softthink.attnrl.shared_prefix='dedup' with softthink.thought_anchor: the divergence is taken in whole "
            "rows; set it to repeat"
        )
    return found
