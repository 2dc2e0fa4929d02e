"""The recipes' switch for bounded waits, in the processes of a run on a Ray cluster that was there before."""

import os
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from support.composing import composed

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.verl

SWITCH = "VERL_SOFTTHINK_BOUNDED_WAITS"
TRANSFER = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield started.address
    ray.shutdown()
    started.shutdown()


@ray.remote(num_cpus=1)
class Server:
    """A worker that starts processes of its own, as vLLM's server does."""

    def own(self) -> str | None:
        return os.environ.get(SWITCH)

    def child(self) -> str:
        code = f"import sys, {TRANSFER} as t; sys.stdout.write(t.BucketedWeightReceiver.__module__)"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("recipe", ["soft_grpo", "soft_tokens", "repro", "attnrl", "variational"])
def test_every_method_s_recipe_sets_it(recipe):
    config = composed([f"+softthink=[cpu,{recipe}]"])
    variables = OmegaConf.to_container(config.ray_kwargs.ray_init.runtime_env)["env_vars"]
    assert variables[SWITCH] == "1"
    assert variables["VLLM_CPU_OMP_THREADS_BIND"] == "nobind", "it must not take the place of another recipe's"


def test_the_cpu_recipe_alone_does_not():
    assert SWITCH not in composed(["+softthink=cpu"]).ray_kwargs.ray_init.runtime_env.env_vars


def test_workers_with_variables_of_their_own_and_their_children_have_it(cluster):
    """verl starts its workers and servers with ``runtime_env={"env_vars": ...}``, which Ray merges with the run's."""
    runtime_env = composed(["+softthink=soft_grpo"]).ray_kwargs.ray_init.runtime_env
    ray.init(address=cluster, runtime_env=OmegaConf.to_container(runtime_env), logging_level="ERROR")
    server = Server.options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}}).remote()
    assert ray.get(server.own.remote()) == "1"
    assert ray.get(server.child.remote()).endswith("verl_softthink.liveness.weight_transfer")
    assert SWITCH not in os.environ
