"""The combinations that posterior thoughts do not support, in one line each."""

from omegaconf import DictConfig, OmegaConf

from verl_softthink.methods.variational import loss
from verl_softthink.methods.variational.fields import AGENT_NAME
from verl_softthink.thinking import marker_problems

#: Keys with one possible value, and why.
_NEEDED = {
    "actor_rollout_ref.rollout.agent.default_agent_loop": (AGENT_NAME, "it rolls out with the hint"),
    "actor_rollout_ref.rollout.calculate_log_probs": (True, "the engine's likelihoods are checked against them"),
    "actor_rollout_ref.rollout.top_p": (1.0, "the likelihoods are those of the whole vocabulary"),
    "actor_rollout_ref.rollout.top_k": (-1, "the likelihoods are those of the whole vocabulary"),
    "actor_rollout_ref.actor.policy_loss.loss_mode": (loss.NAME, "the weights already correct for the proposal"),
    "actor_rollout_ref.actor.loss_agg_mode": (loss.AGGREGATION, "a mean over tokens changes the objective"),
    "actor_rollout_ref.actor.ppo_epochs": (1, "weights are those of the model that the thoughts were scored with"),
    "algorithm.use_kl_in_reward": (False, "rewards are taken as probabilities of a right answer"),
    "algorithm.rollout_correction.rollout_is": (None, "the weights already are an importance correction"),
    "algorithm.rollout_correction.bypass_mode": (False, "the rollout's log-probs are conditioned on the hint"),
}


def problems(config: DictConfig, settings) -> list[str]:
    """One sentence for each setting that posterior thoughts do not support, with the key, its value and the fix."""
    found = []
    if settings.law is not None:
        found.append(
            f"softthink.law.name={settings.law.name!r} with softthink.variational: the weights compare two prompts' "
            "likelihoods of the same text, and mixtures are drawn from the candidates of one prompt; set "
            "softthink.law=null, or keep the law and use algorithm.adv_estimator=variational, which needs no second "
            "likelihood"
        )
    if settings.repro is not None:
        found.append(
            "softthink.repro with softthink.variational: the weights of posterior thoughts replace the "
            "advantage to which softthink.repro adds; remove one of the two"
        )
    for key, (wanted, reason) in _NEEDED.items():
        value = OmegaConf.select(config, key)
        if value != wanted and not (wanted is False and value is None):
            found.append(f"{key}={value!r}: softthink.variational needs {wanted!r}, because {reason}")
    actor, rollout, method = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, settings.variational
    if not actor.loss_scale_factor:
        found.append(
            "actor_rollout_ref.actor.loss_scale_factor=None: token sums are divided by a constant; set a number of "
            "tokens, e.g. ${data.max_response_length}"
        )
    if abs(method.model_share * rollout.n - round(method.model_share * rollout.n)) > 1e-6:
        found.append(
            f"softthink.variational.model_share={method.model_share} of actor_rollout_ref.rollout.n={rollout.n} "
            f"responses is not a whole number; use a multiple of {1 / rollout.n:g}"
        )
    if method.cuts_thoughts and OmegaConf.select(config, "reward.reward_model.enable"):
        found.append(
            "reward.reward_model.enable=True: answers after a cut thought are scored by the reward function, in the "
            "agent loop; set softthink.variational.resampled_answers=0 and answer=accuracy, or use a reward function"
        )
    if method.cuts_thoughts:
        found += marker_problems(config, settings.phase)
    return found
