"""verl's published scripts run every recipe with its name, and what the method must know of model and data."""

import re
import subprocess
from pathlib import Path

import pytest
from recipes.arms import RECIPES, overrides
from support.composing import composed

from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.trainer_modes import SoftThinkSync

PUBLISHED = Path(__file__).parent / "published"
SCRIPTS = ("grpo_qwen3", "dapo", "grpo_lora")
SELECTIONS = ("soft_grpo", "repro", "attnrl", "[soft_grpo,repro]")


def needed(selection: str) -> list[str]:
    """What ``published/needed.sh`` prints for a recipe."""
    shell = ["bash", "-euc", f'source "{PUBLISHED / "needed.sh"}"; needed "$1"', "needed", selection]
    return subprocess.run(shell, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> dict[str, list[str]]:
    """Each script's overrides, scaled down by its variables."""
    folder = tmp_path_factory.mktemp("published")
    # BASH_ENV is sourced before a script.
    variables = {"BASH_ENV": str(PUBLISHED / "pocket_cpu.sh"), "MODEL_PATH": str(checkpoint_path(OVERTHINKING))}
    return {name: overrides(str(PUBLISHED / f"{name}.sh"), folder, **variables) for name in SCRIPTS}


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_published_script_takes_the_recipe(scripts, script, selection):
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    names = selection.strip("[]")
    config = composed([f"+softthink=[cpu,{names}]"], *scripts[script], *needed(selection))
    settings = check_config(config)
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    assert (settings.law is not None) == ("soft_grpo" in names)
    assert (settings.repro is not None, settings.attnrl is not None) == ("repro" in names, "attnrl" in names)
    # What the script sets itself has stayed.
    assert config.actor_rollout_ref.rollout.name == "vllm" and config.data.train_batch_size == 4
    assert config.algorithm.adv_estimator == "grpo"


@pytest.mark.parametrize(("selection", "server"), [("soft_grpo", "SoftVLLMReplica"), ("repro", "vLLMReplica")])
def test_the_trainer_takes_the_server_of_ours_where_there_is_a_law(scripts, selection, server):
    from verl.workers.rollout.replica import get_rollout_replica_class

    config = composed([f"+softthink=[cpu,{selection}]"], *scripts["grpo_qwen3"], *needed(selection))
    trainer = SoftThinkSync(config)
    assert get_rollout_replica_class(trainer.config.actor_rollout_ref.rollout.name).__name__ == server


def test_the_readme_counts_the_overrides():
    table = re.findall(r"^\| `'?\+softthink=(\S+?)'?` \| (\d+) \|", (RECIPES / "README.md").read_text(), re.M)
    # The recipe's name is one.
    assert {name: int(count) for name, count in table} == {
        selection: 1 + len(needed(selection)) for selection in SELECTIONS
    }
