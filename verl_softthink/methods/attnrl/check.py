"""What tree branching cannot be combined with."""

from omegaconf import DictConfig, OmegaConf

from verl_softthink.laws import LAWS
from verl_softthink.likelihood.shared_prefix import IMPLEMENTATIONS
from verl_softthink.thinking import marker_problems

_ACTOR = "actor_rollout_ref.actor"
#: The value that a key must have, and why.
_NEEDED = {
    "algorithm.adv_estimator": ("grpo", "the tree's advantages take the place of its own"),
    "algorithm.use_kl_in_reward": (False, f"values are shares of right responses; use {_ACTOR}.use_kl_loss"),
    "algorithm.filter_groups.enable": (False, "prompts are chosen by softthink.attnrl's own filters"),
    "algorithm.rollout_correction.bypass_mode": (False, "initial responses are scored in the old-log-prob pass"),
    "reward.reward_model.enable": (False, "continuations are scored on arrival, by a reward function"),
    "trainer.v1.sampler.sync_refill_failed_groups": (False, "a failed prompt ends the run with its reason"),
    "skip.rollout_tq.enable": (False, "continuations depend on the responses of the run"),
}
_PLAIN_LOOP = {
    "actor_rollout_ref.rollout.agent.default_agent_loop": (
        "single_turn_agent",
        "only responses of a single turn can be cut",
    ),
}
_DYNAMIC = (
    f"{_ACTOR}.use_dynamic_bsz",
    "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz",
    "actor_rollout_ref.ref.log_prob_use_dynamic_bsz",
)
_ATTENTION = "actor_rollout_ref.model.override_config.attn_implementation"


def problems(config: DictConfig, settings) -> list[str]:
    """What this configuration combines with tree branching and must not: a sentence per mistake, with its fix."""
    found = _soft(settings) if settings.law is not None else []
    if settings.variational is not None:
        found.append(
            "softthink.variational with softthink.attnrl: both decide what is rolled out and how it is rewarded; "
            "remove one of the two"
        )
    # With a law, the configuration's own check requires its agent loop.
    needed = _NEEDED | (_PLAIN_LOOP if settings.law is None else {})
    for key, (wanted, reason) in needed.items():
        value = OmegaConf.select(config, key)
        if value != wanted and not (wanted is False and value is None):
            found.append(f"{key}={value!r}: softthink.attnrl needs {wanted!r}, because {reason}")
    found += _batches(config, settings.attnrl)
    if settings.attnrl.shared_prefix == "dedup":
        found += _dedup(config, settings)
    return found + marker_problems(config, settings.phase)


def _soft(settings) -> list[str]:
    problems = []
    law, method = settings.law, settings.attnrl
    if method.shared_prefix == "dedup" and LAWS[law.name].draws_embedding:
        problems.append(
            f"softthink.attnrl.shared_prefix='dedup' with softthink.law.name={law.name!r}: drawn embeddings are not "
            "shared; set softthink.attnrl.shared_prefix=repeat"
        )
    if method.shared_prefix == "dedup" and settings.likelihood.positions_at_once is not None:
        problems.append(
            f"softthink.likelihood.positions_at_once={settings.likelihood.positions_at_once} with softthink.attnrl."
            "shared_prefix='dedup', which scores branches on all logits; set it to null, or softthink.attnrl."
            "shared_prefix=repeat"
        )
    if method.off_policy and law.rebuilds_embedding:
        problems.append(
            f"softthink.law.fed='seed' with softthink.attnrl.off_policy={method.off_policy}: a prefix would be rebuilt "
            "from an embedding table one update younger than the one it was drawn from; set softthink.law.fed="
            "embedding, or softthink.attnrl.off_policy=0"
        )
    return problems


def _batches(config: DictConfig, method) -> list[str]:
    problems = []
    prompts, mini = config.data.train_batch_size, config.actor_rollout_ref.actor.ppo_mini_batch_size
    if prompts % mini:
        problems.append(
            f"{_ACTOR}.ppo_mini_batch_size={mini}: a step makes data.train_batch_size / ppo_mini_batch_size updates on "
            f"equal parts of its rows; use a divisor of {prompts}"
        )
    if method.adaptive_batch and config.data.get("gen_batch_size") != 1:
        problems.append(
            f"data.gen_batch_size={config.data.get('gen_batch_size')!r}: softthink.attnrl.adaptive_batch=True takes "
            "any number of prompts from the data; set it to 1, or softthink.attnrl.adaptive_batch=false"
        )
    if method.largest_batch is not None and method.largest_batch < prompts:
        problems.append(
            f"softthink.attnrl.largest_batch={method.largest_batch} is below data.train_batch_size={prompts}, with "
            "which the first step begins; raise it, or set it to null"
        )
    return problems


def _dedup(config: DictConfig, settings) -> list[str]:
    where = "softthink.attnrl.shared_prefix='dedup'"
    problems = [
        f"{key}=True with {where}: micro-batches by length separate rows that share a prefix; set it to False and give "
        "micro-batch sizes that hold whole trees"
        for key in _DYNAMIC
        if OmegaConf.select(config, key)
    ]
    attention = OmegaConf.select(config, _ATTENTION)
    if attention not in IMPLEMENTATIONS:
        problems.append(
            f"{_ATTENTION}={attention!r} with {where}: it takes no tree mask; set one of {', '.join(IMPLEMENTATIONS)}"
        )
    if settings.repro is not None:
        problems.append(
            f"softthink.repro with {where}: answers are scored on whole rows; set "
            "softthink.attnrl.shared_prefix=repeat, or remove softthink.repro"
        )
    return problems
