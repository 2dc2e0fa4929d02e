"""What the shell says reaches the processes of a run on a Ray cluster that was there before."""

import pytest
from omegaconf import OmegaConf
from support.composing import composed

pytest.importorskip("verl")
from verl.utils.config import validate_config

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.run_environment import FORWARDED

RUN = [
    "+softthink=[cpu,soft_grpo]",
    f"actor_rollout_ref.model.path={checkpoint_path()}",
    *("data.max_prompt_length=32", "data.max_response_length=64", "data.train_batch_size=8"),
    *("actor_rollout_ref.actor.ppo_mini_batch_size=8", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8"),
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8",
]


def variables(*overrides):
    config = composed(RUN, *overrides)
    # Ours is the attribute of the module, as verl's entry point imports it.
    validate_config(config=config, use_reference_policy=True, use_critic=False)
    return OmegaConf.to_container(config.ray_kwargs.ray_init.runtime_env)["env_vars"]


@pytest.fixture(autouse=True)
def shell(monkeypatch):
    for name in FORWARDED:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_bounds_and_the_metrics_file_of_the_shell_are_forwarded(shell):
    assert not set(variables()) & set(FORWARDED)
    shell.setenv("VERL_SOFTTHINK_SYNC_TIMEOUT_S", "1800")
    shell.setenv("VERL_FILE_LOGGER_PATH", "/runs/one/metrics.jsonl")
    found = variables()
    assert {name: found[name] for name in FORWARDED if name in found} == {
        "VERL_SOFTTHINK_SYNC_TIMEOUT_S": "1800",
        "VERL_FILE_LOGGER_PATH": "/runs/one/metrics.jsonl",
    }
    # Those of the recipes are still there.
    assert (found["VERL_SOFTTHINK_BOUNDED_WAITS"], found["VERL_PLATFORM"]) == ("1", "cpu")


def test_the_command_line_has_precedence(shell):
    shell.setenv("VERL_SOFTTHINK_SYNC_TIMEOUT_S", "1800")
    key = "ray_kwargs.ray_init.runtime_env.env_vars.VERL_SOFTTHINK_SYNC_TIMEOUT_S"
    assert variables(f"+{key}='60'")["VERL_SOFTTHINK_SYNC_TIMEOUT_S"] == "60"


@pytest.mark.parametrize(
    ("name", "value"), [("VERL_SOFTTHINK_TRANSFER_TIMEOUT_S", "2min"), ("VERL_SOFTTHINK_STRICT", "yes")]
)
def test_what_no_process_could_read_is_refused_on_the_driver(shell, name, value):
    shell.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}='{value}'"):
        variables()
