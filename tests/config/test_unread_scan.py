"""Every key of verl's configuration is read on the way that a recipe takes, is refused, or is known not to matter."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.composing import composed

pytest.importorskip("verl")
from verl_softthink.training.compatibility import CHOICES
from verl_softthink.training.unread_check import MOVED, UNREAD

SOURCES = Path(importlib.util.find_spec("verl").origin).parent
#: What a recipe's run does not execute: other trainers, engines and rollouts, and definitions of the configuration.
ELSEWHERE = re.compile(
    r"workers/config/|trainer/config/|^models/|megatron|mcore|veomni|torchtitan|automodel|mindspeed|turbo|sglang|trtllm"
    r"|experimental/(?:fully|one_step|separation|teacher)|main_ppo_v0|ppo/ray_trainer|sft_trainer|tinker"
)
#: Keys, or groups of them, that no file of those names, and why nobody can miss them.
KNOWN = {
    "model_engine": "chooses the group of the configuration that describes the engine",
    "trainer.use_v1": "main_ppo reads it; ours is refused with False",
    "actor_rollout_ref.actor.optim": "read where verl builds the optimizer from its description",
    "critic.optim": "the same",
    "actor_rollout_ref.rollout.custom.softthink": "ours",
    "ray_kwargs.ray_init.runtime_env.env_vars": "variables of the processes",
    "transfer_queue": "read by the queue's own package",
    "actor_rollout_ref.model.lora": "Megatron's, whose rank is refused",
    "actor_rollout_ref.model.mtp": "of models that predict several tokens, which Megatron trains",
    "critic.model.mtp": "the same",
    "critic.model.lora": "the same",
    "actor_rollout_ref.model.tiled_mlp.num_shards": "of a switch that is refused",
    "critic.model.tiled_mlp.num_shards": "of a switch that nobody sets for a critic",
    "critic.forward_": "sizes of a pass that verl's V1 trainer makes with critic.ppo_*",
    "reward.reward_model.rollout.multi_stage_wake_up": "no part of training",
    "global_profiler.global_tool_config": "options that are handed on as a whole",
    "disaggregation": "of SGLang's rollout",
    "turbo_config": "of an engine that is refused by name",
}


def words_of_the_run() -> set[str]:
    """Every word of verl's sources that a recipe's run may execute."""
    files = (path for path in SOURCES.rglob("*.py") if not ELSEWHERE.search(str(path.relative_to(SOURCES))))
    return {word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}


def leaves(node: object, prefix: str) -> Iterator[str]:
    """Dotted keys of a configuration's leaves."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, f"{prefix}.{key}".removeprefix("."))
    else:
        yield prefix


def test_every_key_is_read_refused_or_known():
    words = words_of_the_run()
    refused = {entry.key for entry in UNREAD} | {entry.key for entry in CHOICES}
    keys = [*leaves(OmegaConf.to_container(composed(["+softthink=soft_grpo"])), "")]
    keys = [key for key in keys if key.partition(".")[0] not in ("softthink", *MOVED)]
    unread = [key for key in keys if key.rpartition(".")[2] not in words and key not in refused]
    assert len(keys) > 400 and len(words) > 5_000
    assert [key for key in unread if not any(key.startswith(known) or f".{known}." in key for known in KNOWN)] == []
