"""Recipes on verl's stock entry point: ``+softthink=...`` composed by Hydra from verl's own configuration."""

import os
import subprocess
import sys

import pytest
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf
from support.composing import composed

from verl_softthink.training import recipe_store as store

COMMAND = [sys.executable, "-m", "verl.trainer.main_ppo", "--cfg", "job"]


def compose(*overrides: str, command: list[str] = COMMAND, **environment: str) -> subprocess.CompletedProcess:
    """verl's entry point, printing the composed configuration instead of running it."""
    inherited = {name: value for name, value in os.environ.items() if name != "VERL_PLATFORM"}
    return subprocess.run(
        [*command, *overrides],
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def cpu():
    return OmegaConf.to_container(composed(["+softthink=cpu", "data.train_batch_size=7"]))


def test_cpu_recipe_is_selectable_and_overrides_verl(cpu):
    assert "cpu" in store.recipe_names()
    rollout = cpu["actor_rollout_ref"]["rollout"]
    assert (rollout["name"], rollout["dtype"], rollout["enforce_eager"]) == ("vllm", "float32", True)
    assert cpu["actor_rollout_ref"]["model"]["use_remove_padding"] is False
    assert cpu["actor_rollout_ref"]["model"]["override_config"]["attn_implementation"] == "sdpa"
    assert "softthink" not in cpu, "recipes must be written from the root of verl's configuration"


def test_recipe_keeps_the_rest_of_verl_and_the_command_line_wins(cpu):
    assert cpu["data"]["train_batch_size"] == 7
    assert cpu["data"]["dataloader_num_workers"] == 0
    assert cpu["actor_rollout_ref"]["rollout"]["checkpoint_engine"]["backend"] == "naive"


def test_unknown_recipe_lists_the_known_ones():
    with pytest.raises(MissingConfigException) as refused:
        composed(["+softthink=no_such_recipe"])
    assert "softthink/no_such_recipe" in str(refused.value)
    assert "cpu" in str(refused.value)


@pytest.mark.parametrize("name", store.recipe_names())
def test_recipe_files_explain_themselves(name):
    """A reader of the YAML file alone must be able to tell what a setting is for."""
    lines = store.recipe_text(name).splitlines()
    assert lines[0].startswith("#"), "say first what the recipe is for"
    assert sum(line.lstrip().startswith("#") for line in lines) >= 3


def test_strict_mode_stops_the_run_on_an_untested_version(tmp_path):
    """compat is asked as soon as the entry point imports Hydra."""
    (tmp_path / "sitecustomize.py").write_text(
        "from verl_softthink.upstream import compat\ncompat.VERL_TESTED = '0.0.0'\n"
    )
    run = compose("+softthink=cpu", VERL_PLATFORM="cpu", VERL_SOFTTHINK_STRICT="1", PYTHONPATH=str(tmp_path))
    assert run.returncode != 0
    assert "is untested with verl_softthink" in run.stderr


def test_forgotten_platform_is_named_before_anything_starts():
    run = compose("+softthink=cpu", command=COMMAND[:3])
    assert run.returncode != 0
    assert "VERL_PLATFORM" in run.stderr
    assert "trainer.device" in run.stderr
