"""What the recipe ``cpu`` derives: the engine's sizes from the data's, and what Ray is told about its cluster."""

import pytest
from omegaconf import OmegaConf
from recipes.arms import RECIPES
from support.composing import composed

from verl_softthink.training.recipe_resolvers import largest, product, total

RECIPE = ["+softthink=[cpu,soft_grpo]"]
CACHE = "engine_kwargs.vllm.kv_cache_memory_bytes"


@pytest.mark.parametrize(
    ("overrides", "length", "step", "cache"),
    [
        (["data.max_prompt_length=32", "data.max_response_length=64"], 96, 2048, 256 * 2**20),
        (["data.max_prompt_length=1024", "data.max_response_length=3072"], 4096, 4096, 2**30),
        (["actor_rollout_ref.rollout.max_model_len=3000"], 3000, 3000, 3000 * 2**18),
    ],
)
def test_the_engine_holds_a_whole_sequence(overrides, length, step, cache):
    rollout = composed(RECIPE, *overrides).actor_rollout_ref.rollout
    assert (rollout.max_model_len, rollout.max_num_batched_tokens) == (length, step)
    assert OmegaConf.select(rollout, CACHE) == cache


def test_no_script_for_a_cpu_says_what_is_derived():
    scripts = sorted(RECIPES.glob("*/run_*_cpu.sh"))
    assert len(scripts) > 5
    derived = ("max_model_len", "max_num_batched_tokens")
    assert [script.name for script in scripts if any(size in script.read_text() for size in derived)] == []


def test_a_length_that_is_not_set_leaves_the_least_sizes():
    assert (largest(2048, None), product(2**18, None), total(32, None)) == (2048, None, None)


def test_ray_gets_its_sizes_for_a_cluster_of_the_runs_own(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    own = composed(RECIPE, "trainer.n_gpus_per_node=2").ray_kwargs.ray_init
    assert (own.address, own.num_cpus, own.num_gpus, own.object_store_memory) == ("local", 16, 2, 400000000)
    # verl hands the variables on unresolved.
    assert own.runtime_env.env_vars.VERL_PLATFORM == "cpu"


@pytest.mark.parametrize("named_by", ["override", "environment"])
def test_a_cluster_that_is_running_keeps_its_sizes(monkeypatch, named_by):
    """``ray.init`` refuses any of the three beside the address of a running cluster."""
    if named_by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    overrides = ["ray_kwargs.ray_init.address='127.0.0.1:6379'"] if named_by == "override" else []
    arguments = dict(composed(RECIPE, *overrides).ray_kwargs.ray_init)
    assert arguments["address"] == "127.0.0.1:6379"
    assert [arguments[size] for size in ("num_cpus", "num_gpus", "object_store_memory")] == [None, None, None]
