"""A Ray cluster with too few slots is named, in place of a wait without an end."""

import re

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from support.composing import composed

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.ray_slots import check_cluster, missing, needed, reserved

CPU = [
    "+softthink=[cpu,soft_grpo]",
    f"actor_rollout_ref.model.path={checkpoint_path()}",
    *("data.max_prompt_length=32", "data.max_response_length=64"),
]
SLOTS = st.integers(0, 40)
EACH = reserved()


@given(sizes=st.lists(SLOTS, min_size=1, max_size=4), workers=st.integers(1, 8), rest=st.integers(0, 8))
def test_one_node_s_workers_fit_exactly_where_nothing_is_said(sizes, workers, rest):
    """Against verl's own way: every worker of a node reserves its slots there, and the rest takes what is left."""
    fits = any(size >= EACH * workers for size in sizes) and sum(sizes) - EACH * workers >= rest
    assert (missing(sum(sizes), max(sizes), workers, 1, rest) is None) == fits


def test_the_sentence_has_the_numbers_and_the_fix():
    sentence = missing(free=2, largest=2, workers=1, nodes=1, rest=3)
    assert sentence.startswith("the Ray cluster has 2 free CPU slots, 2 on its largest node, and this run waits for 3")
    assert "ray start --num-cpus=N" in sentence


@pytest.mark.parametrize("devices", [1, 4, 8])
def test_the_cpu_recipe_s_own_cluster_is_large_enough(devices):
    config = composed(CPU, f"trainer.n_gpus_per_node={devices}")
    assert config.ray_kwargs.ray_init.num_cpus >= needed(config) >= EACH * devices
    check_config(config)


def test_a_number_of_slots_that_is_too_low_is_refused_before_ray_starts():
    too_low = composed(CPU, "ray_kwargs.ray_init.num_cpus=2")
    with pytest.raises(
        ValueError, match=r"ray_kwargs\.ray_init\.num_cpus=2: verl waits without an end for the 6 slots"
    ):
        check_config(too_low)


@pytest.mark.verl
def test_a_real_cluster_s_slots_are_counted():
    check_cluster(workers=100, nodes=1, rest=0)
    ray.init(address="local", num_cpus=4, num_gpus=0, include_dashboard=False, logging_level="ERROR")
    try:
        check_cluster(workers=1, nodes=1, rest=1)
        with pytest.raises(RuntimeError, match=re.escape("has 4 free CPU slots, 4 on its largest node")):
            check_cluster(workers=1, nodes=1, rest=3)
    finally:
        ray.shutdown()
