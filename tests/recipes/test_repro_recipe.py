"""The recipe's scripts compose against verl's own configuration, and each twin differs in the method alone."""

import json
import re

import pytest
from recipes.arms import BOUNDED_WAITS, RECIPES, compose, differences, overrides

from verl_softthink.methods.repro.settings import ReproSettings

RECIPE = RECIPES / "repro"
RUNS = ("pocket_cpu", "qwen_gpu")
#: What the arms without process rewards may differ in, beside the `softthink` node.
METHOD_KEYS = {
    "actor_rollout_ref.model.model_type",
    "trainer.v1.trainer_mode",
    "trainer.experiment_name",
    BOUNDED_WAITS,
}
ARMS = ("repro", "grpo", "soft_grpo_repro", "soft_grpo")


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[tuple[str, str], dict]:
    directory = tmp_path_factory.mktemp("recipes")
    arms = [(run, arm) for run in RUNS for arm in ARMS]
    lines = [overrides(f"repro/run_{run}.sh", directory, "trainer.nnodes=2", METHOD=arm) for run, arm in arms]
    return dict(zip(arms, compose(lines), strict=True))


@pytest.mark.parametrize("run", RUNS)
def test_the_twin_differs_in_the_method_alone(configs, run):
    with_rewards, plain = dict(configs[run, "repro"]), dict(configs[run, "grpo"])
    settings = with_rewards.pop("softthink")
    ReproSettings(**settings["repro"])
    assert set(settings) == {"repro", "phase"} and "softthink" not in plain
    assert differences(with_rewards, plain) == METHOD_KEYS
    assert with_rewards["trainer"]["nnodes"] == 2
    assert with_rewards["actor_rollout_ref"]["rollout"]["name"] == "vllm"


@pytest.mark.parametrize("run", RUNS)
def test_the_soft_twin_differs_in_the_process_rewards_alone(configs, run):
    with_rewards, plain = dict(configs[run, "soft_grpo_repro"]), dict(configs[run, "soft_grpo"])
    group = with_rewards["softthink"].pop("repro")
    assert group == configs[run, "repro"]["softthink"]["repro"]
    custom = "actor_rollout_ref.rollout.custom"
    assert differences(with_rewards, plain, whole=frozenset({custom})) <= {"trainer.experiment_name", custom}


def test_the_paper_run_has_the_papers_settings(configs):
    config = configs["qwen_gpu", "repro"]
    actor, rollout, repro = (
        config["actor_rollout_ref"]["actor"],
        config["actor_rollout_ref"]["rollout"],
        config["softthink"]["repro"],
    )
    assert (config["data"]["train_batch_size"], rollout["n"], rollout["temperature"]) == (256, 8, 1.0)
    assert (actor["optim"]["lr"], actor["clip_ratio_low"], actor["clip_ratio_high"]) == (1e-6, 0.2, 0.28)
    assert (actor["use_kl_loss"], actor["kl_loss_coef"]) == (True, 1e-3)
    assert (config["data"]["max_prompt_length"], config["data"]["max_response_length"]) == (2048, 16384)
    assert (rollout["val_kwargs"]["temperature"], rollout["val_kwargs"]["top_p"]) == (0.6, 0.95)
    assert (repro["alpha"], repro["segments"]) == (0.1, 20)


def test_the_pocket_run_cuts_at_line_breaks(configs):
    repro = configs["pocket_cpu", "repro"]["softthink"]["repro"]
    assert (repro["delimiters"], repro["lead_in"], repro["answer"]) == (["\n"], "</think>", "{answer}")


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="METHOD=ppo is unknown; use repro or grpo or soft_grpo_repro or soft_grpo"):
        overrides("repro/run_pocket_cpu.sh", tmp_path, METHOD="ppo")


def test_the_settings_table_lists_every_key_with_its_default():
    text = (RECIPE / "README.md").read_text()
    table = dict(re.findall(r"^\| `softthink\.repro\.(\w+)` \| `(.*?)` \|", text, re.M))
    defaults = ReproSettings().model_dump(mode="json")
    assert table == {key: json.dumps(value) for key, value in defaults.items()}
