"""The recipe's scripts compose against verl's own configuration, and each twin differs in the method alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from verl_softthink.config.base import parse
from verl_softthink.config.settings import LawSettings, SoftThinkSettings

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "soft_grpo"
RUNS = ("pocket_cpu", "smollm2_cpu", "qwen_gpu")
#: What a twin may differ in, beside the `softthink` node itself.
METHOD_KEYS = {
    "actor_rollout_ref.rollout.name",
    "actor_rollout_ref.rollout.custom",
    "actor_rollout_ref.rollout.agent.default_agent_loop",
    "actor_rollout_ref.model.model_type",
    "trainer.v1.trainer_mode",
}
# Prints the arguments of a training run, evaluates -c, and does nothing for data and models.
INTERPRETER = """#!/usr/bin/env bash
case "$1 $2" in
    "-m verl.trainer.main_ppo") shift 2; printf '%s\\0' "$@" ;;
    "-c "*) exec {python} "$@" ;;
esac
"""


def overrides(script: str, directory: Path, *arguments: str, **environment: str) -> list[str]:
    """The verl overrides that a script runs."""
    interpreter = directory / "python"
    interpreter.write_text(INTERPRETER.format(python=sys.executable))
    interpreter.chmod(0o755)
    run = subprocess.run(
        ["bash", str(RECIPE / script), *arguments],
        env={**os.environ, "PYTHON": str(interpreter), "OUT": str(directory / "run"), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if run.returncode:
        raise RuntimeError(run.stderr)
    return run.stdout.rstrip("\0").split("\0")


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[str, dict]:
    directory = tmp_path_factory.mktemp("recipes")
    scripts = {name: f"run_{name}.sh" for name in RUNS} | {f"{name}_grpo": f"run_{name}_grpo.sh" for name in RUNS}
    lines = [overrides(script, directory, "trainer.nnodes=2") for script in scripts.values()]
    composed = directory / "composed.json"
    subprocess.run(
        [sys.executable, str(Path(__file__).parent / "compose.py"), str(composed)],
        input=json.dumps(lines),
        env={**os.environ, "VERL_PLATFORM": "cpu"},
        text=True,
        check=True,
        timeout=400,
    )
    return dict(zip(scripts, json.loads(composed.read_text()), strict=True))


def flat(node: dict, prefix: str = "") -> dict[str, object]:
    leaves = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in METHOD_KEYS:
            leaves |= flat(value, f"{name}.")
        else:
            leaves[name] = value
    return leaves


@pytest.mark.parametrize("name", RUNS)
def test_the_twin_differs_in_the_method_alone(configs, name):
    soft, plain = dict(configs[name]), configs[f"{name}_grpo"]
    settings = soft.pop("softthink")
    assert "softthink" not in plain
    parse(SoftThinkSettings, settings, "softthink")
    soft, plain = flat(soft), flat(plain)
    different = {key for key in soft.keys() | plain.keys() if soft.get(key) != plain.get(key)}
    assert different == METHOD_KEYS | {"trainer.experiment_name"}
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
    assert (soft["law"]["tau"], soft["law"]["noise_scale"]) == (0.1, 1.0)
    assert [soft["filter"][key] for key in ("temperature", "top_p", "top_k", "max_topk")] == [1.0, 0.95, 5, 5]


def test_an_earlier_starts_metrics_are_kept(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("earlier\n")
    overrides("run_qwen_gpu.sh", tmp_path)
    (kept,) = (tmp_path / "run").glob("metrics*.jsonl")
    assert kept.name < "metrics.jsonl" and kept.read_text() == "earlier\n"


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="METHOD=ppo is unknown; use soft_grpo or grpo"):
        overrides("run_pocket_cpu.sh", tmp_path, METHOD="ppo")
    with pytest.raises(RuntimeError, match="DATASET=math is unknown; use word_problems or gsm8k"):
        overrides("run_smollm2_cpu.sh", tmp_path, DATASET="math")


def test_the_settings_table_lists_every_key_with_its_default():
    text = (RECIPE / "README.md").read_text()
    table = dict(re.findall(r"^\| `softthink\.([\w.]+)` \| `([^`]*)` \|", text, re.M))
    groups = SoftThinkSettings(law=LawSettings()).model_dump()
    defaults = flat({group: values for group, values in groups.items() if values is not None})
    assert {key: str(value).replace("None", "null") for key, value in defaults.items()} == table
