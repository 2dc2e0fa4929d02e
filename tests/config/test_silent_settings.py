"""What verl would take and do otherwise than asked, or fail on late: refused on the driver, by name."""

import pytest
from support.composing import composed

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config

MODEL = [f"actor_rollout_ref.model.path={checkpoint_path()}", "data.max_response_length=64"]
ROLLOUT = "actor_rollout_ref.rollout"
LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"


def problems(recipe, *overrides):
    with pytest.raises(ValueError) as error:
        check_config(composed([f"+softthink={recipe}", *MODEL], *overrides))
    return str(error.value)


@pytest.mark.parametrize("recipe", ["repro", "attnrl", "variational", "soft_grpo", "soft_tokens", "[cpu,repro]"])
def test_no_recipe_trains_in_another_trainer(recipe):
    sentences = problems(recipe, "trainer.v1.trainer_mode=separate_async", "trainer.use_v1=false")
    assert "trainer.v1.trainer_mode='separate_async': recipes have the modes sync and colocate_async" in sentences
    assert "trainer.use_v1=False: this recipe needs True" in sentences


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([f"{LOSS}=dppo_tv"], f"{LOSS}=dppo_tv with softthink.law.name='gumbel': compares exp(log-prob) as prob"),
        ([f"{LOSS}=kl_cov"], "ranks positions by log-prob"),
        ([f"{LOSS}=vanila"], f"{LOSS}=vanila is unknown; use one of vanilla, gspo"),
        (["algorithm.adv_estimator=grppo"], "algorithm.adv_estimator=grppo is unknown; use one of grpo"),
        (["algorithm.adv_estimator=remax"], "algorithm.adv_estimator=remax: verl's V1 trainer makes no greedy"),
        (["algorithm.adv_estimator=optimal_token_baseline"], "reads exp(log-prob) as a probability"),
        (["actor_rollout_ref.actor.kl_loss_type=k9"], "actor_rollout_ref.actor.kl_loss_type=k9 is unknown"),
        (["algorithm.use_kl_in_reward=true", "algorithm.kl_penalty=full"], "verl has no implementation of it"),
        (["algorithm.rollout_correction.rollout_is=tokens"], "rollout_is=tokens is unknown; use one of token"),
        (["algorithm.rollout_correction.rollout_rs='seq_mean_k1,seq_k4'"], "rollout_rs=seq_k4 is unknown"),
        ([f"{LOSS}=dro"], "policy_loss.dro_beta=None with loss_mode=dro"),
        (["algorithm.adv_estimator=gae", "trainer.device=cpu"], "critic has not been run on a CPU"),
        (["algorithm.use_pf_ppo=true"], "algorithm.use_pf_ppo=True: verl's V1 trainer gives the advantages"),
        (["reward.reward_manager.name=naiv"], "reward.reward_manager.name=naiv is unknown; use one of naive"),
        (["algorithm.adv_estimator=gae", "algorithm.lam=0.95"], "algorithm.lam=0.95 with algorithm.adv_estimator=gae"),
        (
            ["algorithm.adv_estimator=gae", "algorithm.rollout_correction.rollout_rs=token_k1"],
            "a reward on a rejected position would be lost",
        ),
        ([f"{ROLLOUT}.multi_turn.enable=true"], f"{ROLLOUT}.multi_turn.enable=True"),
        ([f"{ROLLOUT}.scheduling_policy=priority"], f"{ROLLOUT}.scheduling_policy='priority'"),
        ([f"+{ROLLOUT}.engine_kwargs.vllm.scheduling_policy=priority"], "vllm.scheduling_policy='priority'"),
        ([f"+{ROLLOUT}.engine_kwargs.vllm.speculative_config.method=ngram"], "a draft model proposes tokens"),
        ([f"+{ROLLOUT}.engine_kwargs.vllm.enable_prompt_embeds=true"], "enable_prompt_embeds=True"),
        ([f"{ROLLOUT}.quantization=fp8"], f"{ROLLOUT}.quantization='fp8'"),
        ([f"+{ROLLOUT}.engine_kwargs.vllm.quantization=fp8"], "engine_kwargs.vllm.quantization='fp8'"),
        ([f"{ROLLOUT}.val_kwargs.temperature=0"], "thoughts are drawn all the same"),
        (
            ["actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.model.target_modules=[q_proj,embed_tokens]"],
            "actor_rollout_ref.model.target_modules=['q_proj', 'embed_tokens'] adapts the input embedding",
        ),
    ],
)
def test_a_soft_recipe_refuses(overrides, message):
    assert message in problems("soft_grpo", *overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [f"{LOSS}=gspo"],
        [
            f"{LOSS}=reinforce_sum",
            "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum",
            "data.train_batch_size=256",
        ],
        ["algorithm.adv_estimator=rloo", "algorithm.rollout_correction.rollout_rs='token_k1,seq_mean_k1'"],
        ["algorithm.adv_estimator=gae", "algorithm.rollout_correction.rollout_is=token"],
        [f"{ROLLOUT}.val_kwargs.temperature=0", "softthink.rollout.validation=discrete"],
        ["actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.model.target_modules=[q_proj]"],
    ],
)
def test_it_takes(overrides):
    check_config(composed(["+softthink=soft_grpo", *MODEL], *overrides))


def test_without_a_law_tokens_have_probabilities_and_names_are_still_checked():
    check_config(composed(["+softthink=repro", *MODEL], f"{LOSS}=dppo_tv"))
    assert f"{LOSS}=dpo is unknown; use one of vanilla, gspo, sapo, geo_mean" in problems("repro", f"{LOSS}=dpo")


def test_a_name_that_verl_adds_is_refused_until_somebody_has_looked(monkeypatch):
    from verl.trainer.ppo import core_algos

    monkeypatch.setitem(core_algos.POLICY_LOSS_REGISTRY, "novel", core_algos.compute_policy_loss_vanilla)
    assert f"{LOSS}=novel with softthink.law.name='gumbel': it is new in verl" in problems("soft_grpo", f"{LOSS}=novel")

    def own_loss():
        """Somebody's own, registered by their module."""

    monkeypatch.setitem(core_algos.POLICY_LOSS_REGISTRY, "own", own_loss)
    check_config(composed(["+softthink=soft_grpo", *MODEL], f"{LOSS}=own"))
