"""The recipe composes on verl's own configuration, and what posterior thoughts do not support is refused by name."""

import re

import pytest
from omegaconf import OmegaConf
from support.composing import composed

from verl_softthink.methods.settings import parse_node
from verl_softthink.methods.variational.settings import VariationalSettings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.recipe_store import recipe_text


def _config(*overrides, recipe="variational"):
    base = [f"+softthink={recipe}", f"actor_rollout_ref.model.path={checkpoint_path()}", "data.max_response_length=64"]
    return composed([*base, "actor_rollout_ref.rollout.n=4"], *overrides)


def test_the_recipe_as_it_is_passes_and_holds_every_setting_with_its_default():
    settings = check_config(_config())
    assert settings.law is None
    assert settings.variational == VariationalSettings()
    recipe = OmegaConf.to_container(OmegaConf.create(recipe_text("variational")).softthink)
    assert recipe["variational"] == VariationalSettings().model_dump()


def test_every_key_of_the_recipe_is_commented():
    lines = recipe_text("variational").splitlines()
    for number, line in enumerate(lines):
        # The text of the template, which is a block of its own.
        if re.match(r"^\s+[a-z_]+: \S", line) and "template" not in line:
            above = [before.strip() for before in lines[number - 2 : number]]
            assert any(before.startswith("#") for before in above), f"line {number + 1} has no comment: {line}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("softthink.variational.hint.source=oracle", "softthink.variational.hint.source='oracle'"),
        ("softthink.variational.hint.template='{question}'", "must contain {hint} exactly once"),
        ("softthink.variational.model_share=1.5", "softthink.variational.model_share=1.5"),
        ("softthink.variational.model_share=0.3", "model_share=0.3 of actor_rollout_ref.rollout.n=4 responses is not"),
        ("+softthink.variational.posterior_model=x", "softthink.variational.posterior_model='x': unknown key"),
        ("actor_rollout_ref.rollout.top_p=0.9", "actor_rollout_ref.rollout.top_p=0.9: softthink.variational needs 1.0"),
        ("actor_rollout_ref.rollout.calculate_log_probs=false", "calculate_log_probs=False"),
        ("actor_rollout_ref.rollout.agent.default_agent_loop=single_turn_agent", "'softthink_posterior_agent'"),
        ("actor_rollout_ref.actor.policy_loss.loss_mode=vanilla", "loss_mode='vanilla': softthink.variational needs"),
        ("actor_rollout_ref.actor.loss_agg_mode=token-mean", "a mean over tokens changes the objective"),
        ("actor_rollout_ref.actor.loss_scale_factor=null", "loss_scale_factor=None: token sums"),
        ("actor_rollout_ref.actor.ppo_epochs=2", "ppo_epochs=2"),
        ("algorithm.use_kl_in_reward=true", "algorithm.use_kl_in_reward=True"),
        ("algorithm.rollout_correction.rollout_is=token", "rollout_is='token'"),
        ("algorithm.rollout_correction.bypass_mode=true", "bypass_mode=True"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_the_fix(override, message):
    with pytest.raises(ValueError) as error:
        check_config(_config(override))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["softthink.variational.answer=product", "softthink.variational.resampled_answers=4"],
            "scores the reference answer and samples none",
        ),
        (
            ["softthink.variational.answer=product", "softthink.variational.answer_template='so:'"],
            "must contain {answer}",
        ),
        (["softthink.variational.resampled_answers=4", "softthink.phase.end_of_thinking='❄'"], "cannot produce it"),
        (["+softthink.repro={}"], "softthink.repro with softthink.variational: the weights of posterior thoughts"),
        (
            ["softthink.variational.resampled_answers=4", "reward.reward_model.enable=true"],
            "reward.reward_model.enable=True: answers after a cut thought",
        ),
    ],
)
def test_combinations_are_refused(overrides, message):
    with pytest.raises(ValueError) as error:
        check_config(_config(*overrides))
    assert message in str(error.value)


def test_soft_laws_are_refused_with_posterior_thoughts_and_welcome_in_the_on_policy_form():
    with pytest.raises(ValueError) as error:
        check_config(_config("softthink.law={name: gumbel}"))
    assert "softthink.law.name='gumbel' with softthink.variational: " in str(error.value)
    assert "algorithm.adv_estimator=variational, which needs no second likelihood" in str(error.value)
    soft = _config(
        "algorithm.adv_estimator=variational", "actor_rollout_ref.rollout.name=softthink_vllm", recipe="soft_grpo"
    )
    assert check_config(soft).variational is None


def test_settings_without_the_group_choose_no_stage():
    assert parse_node({}).variational is None
