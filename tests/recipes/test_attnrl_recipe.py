"""The arms of the attnrl recipe compose against verl's own configuration and differ in the method alone."""

import json
import re

import pytest
from recipes.arms import BOUNDED_WAITS, RECIPES, compose, differences, overrides

from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.methods.settings import parse_node
from verl_softthink.pocket import checkpoint_path

RUNS = ("pocket_cpu", "smollm2_cpu", "qwen_gpu")
ARMS = ("attnrl", "soft_attnrl", "treerl", "grpo")
#: What soft rollouts differ in from those of tokens, beside ``softthink``'s law, filter and phase.
SOFT_KEYS = {
    *("actor_rollout_ref.rollout.agent.default_agent_loop", "actor_rollout_ref.rollout.custom"),
    "trainer.experiment_name",
}
#: What a tree may differ in from GRPO, beside the ``softthink`` node.
METHOD_KEYS = {
    *("actor_rollout_ref.model.model_type", "trainer.v1.trainer_mode", "trainer.experiment_name"),
    *("actor_rollout_ref.rollout.n", "data.gen_batch_size", BOUNDED_WAITS),
}


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[tuple[str, str], dict]:
    directory = tmp_path_factory.mktemp("recipes")
    arms = [(run, arm) for run in RUNS for arm in ARMS]
    places = {"MODEL": str(checkpoint_path()), "DATA": str(directory / "data")}
    lines = [overrides(f"attnrl/run_{run}.sh", directory, METHOD=arm, **places) for run, arm in arms]
    return dict(zip(arms, compose(lines), strict=True))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("arm", ["attnrl", "treerl"])
def test_a_tree_differs_from_grpo_in_the_method_alone(configs, run, arm):
    tree, plain = dict(configs[run, arm]), dict(configs[run, "grpo"])
    parse_node(tree.pop("softthink"))
    assert "softthink" not in plain
    allowed = METHOD_KEYS | ({"trainer.total_training_steps"} if run == "qwen_gpu" else set())
    assert differences(tree, plain) <= allowed
    assert differences(tree, plain) >= {"trainer.v1.trainer_mode", "actor_rollout_ref.rollout.n"}
    assert plain["actor_rollout_ref"]["actor"]["loss_agg_mode"] == "token-mean"


@pytest.mark.parametrize("run", RUNS)
def test_the_trees_differ_in_rule_and_filters_alone(configs, run):
    one, two = dict(configs[run, "attnrl"]), dict(configs[run, "treerl"])
    left, right = one.pop("softthink"), two.pop("softthink")
    assert differences(one, two) == {"trainer.experiment_name"}
    assert differences(left, right) - {"attnrl.wanted_responses", "attnrl.largest_batch"} == {
        *("attnrl.branching", "attnrl.expansion", "attnrl.attention_filter"),
        *("attnrl.zero_advantage_filter", "attnrl.adaptive_batch"),
    }


@pytest.mark.parametrize("run", RUNS)
def test_the_soft_tree_differs_in_the_rollout_alone(configs, run):
    soft, plain = dict(configs[run, "soft_attnrl"]), dict(configs[run, "attnrl"])
    settings, of_tokens = soft.pop("softthink"), plain.pop("softthink")
    parsed = parse_node(settings)
    assert parsed.law.name == "gumbel" and parsed.attnrl == parse_node(of_tokens).attnrl
    assert differences(soft, plain, whole=frozenset({"actor_rollout_ref.rollout.custom"})) == SOFT_KEYS
    assert settings["phase"]["end_of_thinking"] == of_tokens["phase"]["end_of_thinking"]


def test_the_paper_run_has_the_papers_settings(configs):
    config = configs["qwen_gpu", "attnrl"]
    actor, rollout = config["actor_rollout_ref"]["actor"], config["actor_rollout_ref"]["rollout"]
    assert (config["data"]["train_batch_size"], actor["ppo_mini_batch_size"], rollout["n"]) == (64, 32, 6)
    assert (actor["clip_ratio_low"], actor["clip_ratio_high"], actor["clip_ratio_c"]) == (0.2, 0.28, 3.0)
    assert (actor["use_kl_loss"], actor["kl_loss_coef"], actor["kl_loss_type"]) == (True, 1e-3, "low_var_kl")
    assert (actor["optim"]["lr"], actor["optim"]["weight_decay"], actor["entropy_coeff"]) == (1e-6, 0.01, 0)
    assert (config["data"]["max_prompt_length"], config["data"]["max_response_length"]) == (1024, 8192)
    assert (rollout["temperature"], rollout["top_p"]) == (1.0, 1.0)
    assert AttnrlSettings(**config["softthink"]["attnrl"]) == AttnrlSettings()
    steps = [configs["qwen_gpu", arm]["trainer"]["total_training_steps"] for arm in ARMS]
    assert steps == [500, 500, 500, 800]


def test_unknown_arms_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="METHOD=ppo is unknown; use attnrl or soft_attnrl or treerl or grpo"):
        overrides("attnrl/run_pocket_cpu.sh", tmp_path, METHOD="ppo")


def test_the_settings_table_lists_every_key_with_its_default():
    text = (RECIPES / "attnrl/README.md").read_text()
    table = dict(re.findall(r"^\| `softthink\.attnrl\.(\w+)` \| `(.*?)` \|", text, re.M))
    assert table == {key: json.dumps(value) for key, value in AttnrlSettings().model_dump(mode="json").items()}
