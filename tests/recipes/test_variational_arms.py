"""The arms of the variational recipe compose against verl's own configuration and differ in the method alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from verl_softthink.config.base import parse
from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.variational.settings import VariationalSettings

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "variational"
ARMS = ("grpo", "variational_a", "rft", "variational_b")
PLUGGED = {
    "actor_rollout_ref.rollout.custom",
    "actor_rollout_ref.rollout.agent.default_agent_loop",
    "actor_rollout_ref.model.model_type",
    "trainer.v1.trainer_mode",
}
LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
#: What an arm may differ in from GRPO, beside names and directories.
DIFFERENCES = {
    "variational_a": {"algorithm.adv_estimator"},
    "rft": {"algorithm.adv_estimator", LOSS},
    "variational_b": {"algorithm.adv_estimator", LOSS} | PLUGGED,
}
# Prints the arguments of a training run, and does nothing for data.
INTERPRETER = """#!/usr/bin/env bash
case "$1 $2" in
    "-m verl.trainer.main_ppo") shift 2; printf '%s\\0' "$@" ;;
esac
"""


def overrides(script: str, directory: Path, **environment: str) -> list[str]:
    """The verl overrides that a script runs."""
    directory.mkdir(exist_ok=True)
    interpreter = directory / "python"
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    run = subprocess.run(
        ["bash", str(RECIPE / script)],
        env={**os.environ, "PYTHON": str(interpreter), "MODEL": str(checkpoint_path()), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if run.returncode:
        raise RuntimeError(run.stderr)
    return run.stdout.rstrip("\0").split("\0")


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[tuple[str, str], dict]:
    directory = tmp_path_factory.mktemp("recipes")
    runs = [(script, arm) for script in ("pocket_cpu", "qwen_gpu") for arm in ARMS]
    out = {"OUT": str(directory / "out"), "DATA": str(directory / "data")}
    lines = [overrides(f"run_{script}.sh", directory / script, METHOD=arm, **out) for script, arm in runs]
    composed = directory / "composed.json"
    subprocess.run(
        [sys.executable, str(Path(__file__).parent / "compose.py"), str(composed)],
        input=json.dumps(lines),
        env={**os.environ, "VERL_PLATFORM": "cpu"},
        text=True,
        check=True,
        timeout=600,
    )
    return dict(zip(runs, json.loads(composed.read_text()), strict=True))


def flat(node: dict, prefix: str = "") -> dict[str, object]:
    leaves = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in PLUGGED:
            leaves |= flat(value, f"{name}.")
        else:
            leaves[name] = value
    return leaves


@pytest.mark.parametrize("script", ["pocket_cpu", "qwen_gpu"])
@pytest.mark.parametrize("arm", DIFFERENCES)
def test_an_arm_differs_from_grpo_in_the_method_alone(configs, script, arm):
    ours, grpo = dict(configs[script, arm]), configs[script, "grpo"]
    settings = ours.pop("softthink", None)
    assert (settings is not None) == (arm == "variational_b")
    if settings:
        parse(SoftThinkSettings, settings, "softthink")
    ours, grpo = flat(ours), flat(grpo)
    different = {key for key in ours.keys() | grpo.keys() if ours.get(key) != grpo.get(key)}
    assert different == DIFFERENCES[arm] | {"trainer.experiment_name"}
    assert grpo["algorithm.adv_estimator"] == "grpo"
    assert ours["actor_rollout_ref.actor.loss_agg_mode"] == "seq-mean-token-sum-norm"
    assert ours["actor_rollout_ref.rollout.name"] == "vllm"
    assert not ours["actor_rollout_ref.actor.use_kl_loss"]


def test_unknown_arms_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="METHOD=ppo is unknown; use variational_b, variational_a, rft or grpo"):
        overrides("run_pocket_cpu.sh", tmp_path, METHOD="ppo")


def test_the_settings_table_lists_every_key_with_its_default():
    text = (RECIPE / "README.md").read_text()
    table = dict(re.findall(r"^\| `softthink\.variational\.([\w.]+)` \| `?([^`|]*?)`? \|", text, re.M))
    defaults = {key: str(value) for key, value in flat(VariationalSettings().model_dump()).items()}
    assert table.pop("hint.template") == "see the recipe"
    assert {key: value for key, value in defaults.items() if key != "hint.template"} == table
