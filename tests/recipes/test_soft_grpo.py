"""The recipe's scripts compose against verl's own configuration, and each twin differs in the method alone."""

import re

import pytest
from recipes.arms import BOUNDED_WAITS, RECIPES, compose, differences, flat, overrides

from verl_softthink.config.settings import LawSettings, SoftThinkSettings
from verl_softthink.methods.settings import parse_node

RECIPE = RECIPES / "soft_grpo"
RUNS = ("pocket_cpu", "smollm2_cpu", "qwen_gpu")
#: What a twin may differ in, beside the `softthink` node itself.
METHOD_KEYS = frozenset(
    {
        "actor_rollout_ref.rollout.custom",
        "actor_rollout_ref.rollout.agent.default_agent_loop",
        "actor_rollout_ref.model.model_type",
        "trainer.v1.trainer_mode",
        BOUNDED_WAITS,
    }
)


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[str, dict]:
    directory = tmp_path_factory.mktemp("recipes")
    scripts = {name: f"soft_grpo/run_{name}.sh" for name in RUNS} | {
        f"{name}_grpo": f"soft_grpo/run_{name}_grpo.sh" for name in RUNS
    }
    lines = [overrides(script, directory, "trainer.nnodes=2") for script in scripts.values()]
    return dict(zip(scripts, compose(lines), strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_the_twin_differs_in_the_method_alone(configs, name):
    soft, plain = dict(configs[name]), configs[f"{name}_grpo"]
    settings = soft.pop("softthink")
    assert "softthink" not in plain
    parse_node(settings)
    assert differences(soft, plain, whole=METHOD_KEYS) == METHOD_KEYS | {"trainer.experiment_name"}
    soft, plain = flat(soft), flat(plain)
    assert plain["actor_rollout_ref.rollout.name"] == "vllm" and plain["algorithm.adv_estimator"] == "grpo"
    # Arguments of the script reach verl, after the script's own settings.
    assert soft["trainer.nnodes"] == plain["trainer.nnodes"] == 2


@pytest.mark.parametrize("name", RUNS)
def test_a_run_can_be_resumed_and_summarised(configs, name):
    trainer = configs[name]["trainer"]
    assert trainer["resume_mode"] == "auto" and trainer["save_freq"] > 0 and trainer["test_freq"] > 0
    assert trainer["val_before_train"] and "file" in trainer["logger"]
    data = configs[name]["data"]
    budget = configs[name]["softthink"]["phase"]["budget"]
    assert budget is None or budget < data["max_response_length"]
    model_length = configs[name]["actor_rollout_ref"]["rollout"]["max_model_len"]
    assert model_length >= data["max_prompt_length"] + data["max_response_length"]


def test_the_paper_run_has_the_papers_settings(configs):
    config = configs["qwen_gpu"]
    actor, rollout, soft = (
        config["actor_rollout_ref"]["actor"],
        config["actor_rollout_ref"]["rollout"],
        config["softthink"],
    )
    assert (config["data"]["train_batch_size"], actor["ppo_mini_batch_size"], rollout["n"]) == (64, 32, 8)
    assert (config["data"]["max_prompt_length"], config["data"]["max_response_length"]) == (1024, 8192)
    assert (actor["optim"]["lr"], actor["optim"]["weight_decay"], actor["grad_clip"]) == (1e-6, 0.01, 1.0)
    assert (actor["clip_ratio_low"], actor["clip_ratio_high"], actor["kl_loss_coef"]) == (0.2, 0.2, 1e-3)
    assert (actor["use_kl_loss"], actor["kl_loss_type"]) == (True, "low_var_kl")
    assert LawSettings(**soft["law"]).parameters == {"tau": 0.1, "noise_scale": 1.0}
    assert [soft["filter"][key] for key in ("temperature", "top_p", "top_k", "max_topk")] == [1.0, 0.95, 5, 5]


def test_an_earlier_starts_metrics_are_kept(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("earlier\n")
    overrides("soft_grpo/run_qwen_gpu.sh", tmp_path)
    (kept,) = (tmp_path / "run").glob("metrics*.jsonl")
    assert kept.name < "metrics.jsonl" and kept.read_text() == "earlier\n"


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="METHOD=ppo is unknown; use soft_grpo or grpo"):
        overrides("soft_grpo/run_pocket_cpu.sh", tmp_path, METHOD="ppo")
    with pytest.raises(RuntimeError, match="DATASET=math is unknown; use word_problems or gsm8k"):
        overrides("soft_grpo/run_smollm2_cpu.sh", tmp_path, DATASET="math")


def test_the_settings_table_lists_every_key_with_its_default():
    text = (RECIPE / "README.md").read_text().partition("<!-- parameters of the laws -->")[0]
    table = dict(re.findall(r"^\| `softthink\.([\w.]+)` \| `([^`]*)` \|", text, re.M))
    # The laws' parameters have a table of their own.
    groups = SoftThinkSettings(law=LawSettings()).model_dump() | {"law": {"name": "gumbel", "normalise_over": None}}
    defaults = flat({group: values for group, values in groups.items() if values is not None})
    assert {key: str(value).replace("None", "null") for key, value in defaults.items()} == table
