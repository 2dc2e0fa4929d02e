"""``import verl`` beside this package: a run without a recipe gets every function and class of verl's as it is."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verl_softthink.liveness import registrations as bounded_waits
from verl_softthink.plugin import registrations

#: What is wrapped on every run, and why a run without a recipe does not notice.
INERT = {
    "verl.utils.config.validate_config": "checks the softthink node, where there is one",
    "verl.trainer.ppo.v1.utils.compute_advantage_for_multi_trajectories": "its first line asks for our estimators",
    "verl.trainer.ppo.v1.trainer_base.compute_advantage_for_multi_trajectories": "the same, imported by name",
    "verl.trainer.ppo.v1.get_trainer_cls": "acts on our trainer's name alone",
    "verl.trainer.ppo.reward.get_custom_reward_fn": "acts where the configuration has a softthink node",
    "verl.workers.engine_workers.TrainingWorker.__init__": "acts on our model type alone",
    "verl.workers.utils.losses.sft_loss": "its first line asks for softthink_token_weight in the batch",
}
MODULES = sorted(
    {module for module, _ in (*registrations(), *bounded_waits.REGISTRATIONS) if module.startswith("verl.")}
    | {"verl.checkpoint_engine.base", "verl.checkpoint_engine", "verl.trainer.ppo.v1.trainer_base"}
    | {"verl.trainer.ppo.v1.replay_buffer", "verl.workers.rollout.vllm_rollout.vllm_rollout"}
)


def held(**environment: str) -> dict[str, dict]:
    """What verl's modules hold in a fresh interpreter."""
    script = Path(__file__).with_name("plain_run_facts.py")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERL_")}
    run = subprocess.run(
        [sys.executable, str(script), *MODULES],
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def changes(before: object, after: object, name: str = "") -> list[str]:
    """Dotted names of what is in ``before`` and is missing or another in ``after``."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            change
            for key, value in before.items()
            for change in changes(value, after.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if before == after else [name]


def test_a_run_without_a_recipe_gets_verl_as_it_is():
    with ThreadPoolExecutor() as pool:
        stock, beside_us = pool.map(lambda plugins: held(VERL_USE_EXTERNAL_PLUGINS=plugins), ("none", "auto"))
    assert set(changes(stock, beside_us)) == set(INERT)
