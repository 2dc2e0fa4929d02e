"""What the recipes' scripts would run: the overrides they hand to verl, and the configurations these compose to."""

import os
import subprocess
import sys
from pathlib import Path

import hydra
from hydra import initialize_config_module
from omegaconf import OmegaConf

#: What every recipe of a method sets, and plain verl does not: bounds on a transfer of weights.
BOUNDED_WAITS = "ray_kwargs.ray_init.runtime_env.env_vars.VERL_SOFTTHINK_BOUNDED_WAITS"
ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
# Prints the arguments of a training run, evaluates -c, and does nothing for data and models.
_INTERPRETER = """#!/usr/bin/env bash
case "$1 $2" in
    "-m verl.trainer.main_ppo") shift 2; printf '%s\\0' "$@" ;;
    "-c "*) exec {python} "$@" ;;
esac
"""


def overrides(script: str, directory: Path, *arguments: str, **environment: str) -> list[str]:
    """The verl overrides of ``recipes/<script>``, run with ``directory`` for its files.

    Raises:
        RuntimeError: with what the script said, when it failed.
    """
    interpreter = directory / "python"
    interpreter.write_text(_INTERPRETER.format(python=sys.executable))
    interpreter.chmod(0o755)
    run = subprocess.run(
        ["bash", str(RECIPES / script), *arguments],
        env={**os.environ, "PYTHON": str(interpreter), "OUT": str(directory / "run"), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if run.returncode:
        raise RuntimeError(run.stderr)
    return run.stdout.rstrip("\0").split("\0")


def compose(lines: list[list[str]]) -> list[dict]:
    """verl's whole configuration for each list of overrides, checked as verl does at start-up."""
    import verl  # noqa: F401 - stores the recipes
    from verl.utils.config import validate_config

    configs = []
    with initialize_config_module("verl.trainer.config", version_base=None):
        for line in lines:
            config = hydra.compose("ppo_trainer", overrides=line)
            # verl's own checks; the soft settings need the model's tokenizer, which may not be here.
            plain = OmegaConf.masked_copy(config, [key for key in config if key != "softthink"])
            plain.actor_rollout_ref.rollout.custom = None
            validate_config(plain, use_reference_policy=True, use_critic=False)
            # The one value of a script's that the recipe `cpu` derives and tests read.
            config.actor_rollout_ref.rollout.max_model_len = plain.actor_rollout_ref.rollout.max_model_len
            configs.append(OmegaConf.to_container(config))
    return configs


def flat(node: dict, *, whole: frozenset[str] = frozenset(), prefix: str = "") -> dict[str, object]:
    """Leaves by dotted key; nodes named in ``whole`` are leaves."""
    leaves = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in whole:
            leaves |= flat(value, whole=whole, prefix=f"{name}.")
        else:
            leaves[name] = value
    return leaves


def differences(one: dict, other: dict, *, whole: frozenset[str] = frozenset()) -> set[str]:
    """Dotted keys whose values differ, or which only one of them has."""
    one, other = flat(one, whole=whole), flat(other, whole=whole)
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
