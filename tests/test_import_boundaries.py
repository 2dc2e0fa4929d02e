"""What importing a part of the package may pull in, each part in a fresh interpreter."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("verl", "vllm", "ray", "transformers", "pydantic", "hydra", "tensordict")


def loaded_by(code: str, **environment: str) -> set[str]:
    """Names of all modules in a fresh interpreter after running ``code``."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return set(json.loads(run.stdout.splitlines()[-1]))


def top_level(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize(
    "part", ["verl_softthink", "verl_softthink.laws", "verl_softthink.trace", "verl_softthink.upstream.hooks"]
)
def test_method_code_needs_torch_only(part):
    assert not top_level(loaded_by(f"import {part}")) & set(HEAVY)


@pytest.mark.parametrize(
    "part",
    [
        "verl_softthink",
        "verl_softthink.upstream.hooks",
        "verl_softthink.upstream.symbols",
        "verl_softthink.cpu.registrations",
        "verl_softthink.liveness.registrations",
    ],
)
def test_start_up_code_does_not_even_need_torch(part):
    assert "torch" not in top_level(loaded_by(f"import {part}"))


@pytest.mark.parametrize("platform", ["", "cpu"])
def test_plugin_adds_nothing_heavy_to_what_verl_imports_by_itself(platform):
    alone = loaded_by("import verl", VERL_USE_EXTERNAL_PLUGINS="none", VERL_PLATFORM=platform)
    with_plugin = loaded_by("import verl", VERL_PLATFORM=platform)
    added = {module for module in with_plugin - alone if not module.startswith("verl_softthink")}
    assert "verl_softthink.plugin" in with_plugin
    # Settings are pydantic models, and verl.utils.config, to which their check is attached, is imported with verl.
    assert not top_level(added) & (set(HEAVY) - {"pydantic"}), sorted(added)


def test_plugin_imported_by_itself_loads_neither_verl_nor_vllm():
    assert not top_level(loaded_by("import verl_softthink.plugin")) & set(HEAVY)


def test_our_module_may_be_imported_before_the_upstream_module_it_registers_with():
    """Its import of upstream sets off its own registration, half-way through."""
    loaded_by(
        "from verl_softthink.liveness.weight_transfer import BoundedWeightSender as ours\n"
        "import verl_softthink.liveness.weight_transfer as module\n"
        "import verl.workers.rollout.vllm_rollout.bucketed_weight_transfer as upstream\n"
        "assert upstream.BucketedWeightSender is ours is module.BoundedWeightSender",
        VERL_PLATFORM="cpu",
        VERL_SOFTTHINK_BOUNDED_WAITS="1",
    )
