"""The recipe composes on verl's own configuration, and what tree branching cannot work with is refused by name."""

import pytest
from omegaconf import OmegaConf
from support.composing import composed

from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.methods.registry import chosen
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.recipe_store import recipe_text

ENTROPY = ["softthink.attnrl.branching=entropy", "softthink.attnrl.attention_filter=false"]
DEDUP = [
    "softthink.attnrl.shared_prefix=dedup",
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
]


def _config(*overrides, recipe="attnrl"):
    model = f"actor_rollout_ref.model.path={checkpoint_path(OVERTHINKING)}"
    base = [f"+softthink={recipe}", model, "data.max_response_length=64", "data.train_batch_size=8"]
    return composed([*base, "actor_rollout_ref.actor.ppo_mini_batch_size=4"], *overrides)


def _soft(*overrides):
    model = f"actor_rollout_ref.model.path={checkpoint_path(OVERTHINKING)}"
    base = ["+softthink=[soft_grpo,attnrl]", model, "data.max_response_length=64", "data.train_batch_size=8"]
    return composed([*base, "actor_rollout_ref.actor.ppo_mini_batch_size=8"], *overrides)


def test_the_recipe_as_it_is_passes_and_holds_every_setting_with_its_default():
    settings = check_config(_config())
    assert settings.law is None and settings.attnrl == AttnrlSettings()
    recipe = OmegaConf.to_container(OmegaConf.create(recipe_text("attnrl")).softthink)
    assert AttnrlSettings(**recipe["attnrl"]) == AttnrlSettings()
    assert set(recipe["attnrl"]) == set(AttnrlSettings.model_fields)
    assert [method.group for method in chosen(settings)] == ["attnrl"]


def test_every_key_of_the_recipe_is_commented():
    lines = recipe_text("attnrl").splitlines()
    for number, line in enumerate(lines):
        if line.strip() and not line.strip().startswith("#"):
            assert line.rstrip().endswith(":") or lines[number - 1].strip().startswith("#"), line


def test_it_composes_with_process_rewards_after_the_tree():
    settings = check_config(_config(recipe="[attnrl,repro]"))
    assert [method.group for method in chosen(settings)] == ["attnrl", "repro"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["softthink.attnrl.points=0"], "softthink.attnrl.points=0: Input should be greater than or equal to 1"),
        (["softthink.attnrl.quantile=1.5"], "softthink.attnrl.quantile=1.5"),
        (["softthink.attnrl.off_policy=2"], "softthink.attnrl.off_policy=2"),
        (["softthink.attnrl.separators=[]"], "softthink.attnrl.separators=[]: give at least one separator"),
        (["softthink.attnrl.layers=[]"], "softthink.attnrl.layers=[]: the list is empty"),
        (["softthink.attnrl.branching=entropy"], "measures no influence, which attention_filter=True compares"),
        ([*ENTROPY, "softthink.attnrl.heads=[0]"], "reads no attention, but layers=None and heads=(0,) choose some"),
        (
            ["softthink.attnrl.adaptive_batch=false", "softthink.attnrl.wanted_responses=9"],
            "adaptive_batch=False always samples data.train_batch_size prompts, but wanted_responses=9",
        ),
        (["+softthink.attnrl.n=6"], "softthink.attnrl.n=6: unknown key; known keys are branching, points"),
        (["+softthink.variational={}"], "softthink.variational with softthink.attnrl: both decide"),
        (["algorithm.adv_estimator=rloo"], "algorithm.adv_estimator='rloo': softthink.attnrl needs 'grpo'"),
        (["algorithm.use_kl_in_reward=true"], "algorithm.use_kl_in_reward=True: softthink.attnrl needs False"),
        (["algorithm.rollout_correction.bypass_mode=true"], "bypass_mode=True: softthink.attnrl needs False"),
        (["++algorithm.filter_groups.enable=true"], "algorithm.filter_groups.enable=True: softthink.attnrl needs"),
        (["reward.reward_model.enable=true"], "reward.reward_model.enable=True: softthink.attnrl needs False"),
        (["actor_rollout_ref.rollout.agent.default_agent_loop=tool_agent"], "'tool_agent': softthink.attnrl needs"),
        (["skip.rollout_tq.enable=true"], "skip.rollout_tq.enable=True: softthink.attnrl needs False"),
        (["actor_rollout_ref.actor.ppo_mini_batch_size=3"], "ppo_mini_batch_size=3: a step makes"),
        (["data.gen_batch_size=null"], "data.gen_batch_size=None: softthink.attnrl.adaptive_batch=True takes any"),
        (["softthink.attnrl.largest_batch=4"], "softthink.attnrl.largest_batch=4 is below data.train_batch_size=8"),
        (["softthink.phase.end_of_thinking='❄'"], "cannot produce it"),
        ([*DEDUP, "actor_rollout_ref.actor.use_dynamic_bsz=true"], "use_dynamic_bsz=True with softthink.attnrl.shared"),
        (["softthink.attnrl.shared_prefix=dedup"], "attn_implementation=None with softthink.attnrl.shared_prefix="),
        ([*DEDUP, "+softthink.repro={}"], "softthink.repro with softthink.attnrl.shared_prefix='dedup': answers"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_the_fix(overrides, message):
    with pytest.raises(ValueError) as error:
        check_config(_config(*overrides))
    assert message in str(error.value)


@pytest.mark.parametrize("law", ["gumbel", "concrete", "dirichlet", "multiplex", "discrete", "gaussian"])
def test_it_composes_with_every_law_that_trains(law):
    settings = check_config(_soft(f"softthink.law.name={law}"))
    assert law == "gaussian" or check_config(_soft(f"softthink.law.name={law}", *DEDUP)).law.name == law
    assert settings.law.name == law and [method.group for method in chosen(settings)] == ["attnrl"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [*DEDUP, "softthink.law={name: gaussian}"],
            "softthink.attnrl.shared_prefix='dedup' with softthink.law.name='gaussian': drawn embeddings are not",
        ),
        (
            [*DEDUP, "softthink.likelihood.positions_at_once=64"],
            "positions_at_once=64 with softthink.attnrl.shared_prefix='dedup', which scores branches on all logits",
        ),
        (
            ["softthink.law={name: gaussian, fed: seed, normalise_over: candidates}", "softthink.attnrl.off_policy=1"],
            "softthink.law.fed='seed' with softthink.attnrl.off_policy=1: a prefix would be rebuilt",
        ),
        (["softthink.law.name=deterministic"], "'deterministic' has no likelihood"),
        (
            ["actor_rollout_ref.rollout.agent.default_agent_loop=single_turn_agent"],
            "default_agent_loop='single_turn_agent': this recipe needs 'softthink_agent'",
        ),
    ],
)
def test_what_soft_trees_cannot_do_is_refused(overrides, message):
    with pytest.raises(ValueError) as error:
        check_config(_soft(*overrides))
    assert message in str(error.value)


def test_branching_by_entropy_and_dedup_pass():
    assert check_config(_config(*ENTROPY)).attnrl.branching == "entropy"
    assert check_config(_config(*DEDUP)).attnrl.shared_prefix == "dedup"
