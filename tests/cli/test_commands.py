"""The command line as a user meets it: in a process of its own, without VERL_PLATFORM."""

import ast
import inspect
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest
import torch
import typer

import verl_softthink
from verl_softthink.cli import app

COMMAND = [sys.executable, "-c", "from verl_softthink.cli import app; app()"]
#: Commands outside of ``bench`` that import verl or start vLLM, and those that do neither beside ``data ...``; the
#: doctor examines the platform that it finds, and chooses it in processes of its own.
OTHERS_WITH_VERL = {"audit", "eval", "metrics", "data variational"}
WITHOUT_VERL = {"chain", "doctor", "entropy-profile", "eval-table", "inspect", "ood", "plot", "summary", "watch"}
WITHOUT_VERL |= {"budget", "recipes copy", "recipes list", "recipes show"}
NO_ACCELERATOR = not torch.accelerator.is_available()


def cli(*arguments: str, timeout_s: float = 300, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if name not in ("VERL_PLATFORM", "COLUMNS")}
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**inherited, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def test_help_needs_no_heavy_import():
    code = "from verl_softthink.cli import app\nimport sys\nassert not {'torch', 'verl', 'vllm'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    assert "bench" in cli("--help").stdout


def test_the_version_is_the_packages():
    run = cli("--version")
    assert (run.returncode, run.stdout.strip()) == (0, verl_softthink.__version__)


def commands(group: typer.Typer, path: str = "") -> dict[str, Callable]:
    """Every command by its words."""
    found = {}
    for command in group.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")
        found[f"{path}{name}"] = command.callback
    for inner in group.registered_groups:
        found |= commands(inner.typer_instance, f"{path}{inner.name} ")
    return found


def chooses_first(command: Callable) -> bool:
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(command))).body
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return ast.unparse(statements[0]) == "choose_platform()"


def test_every_command_that_imports_verl_or_vllm_chooses_the_platform_first():
    found = commands(app)
    assert {name for name in found if name.startswith("bench ")} >= {"bench rollout", "bench prefix", "bench fci"}
    choosing = {name for name, command in found.items() if chooses_first(command)}
    assert choosing == {name for name in found if name.startswith("bench ")} | OTHERS_WITH_VERL
    assert set(found) - choosing == WITHOUT_VERL | {name for name in found if name.startswith("data ")} - choosing


@pytest.mark.skipif(not NO_ACCELERATOR, reason="the platform is chosen for machines without an accelerator")
def test_the_prefix_bench_works_out_of_the_box():
    run = cli("bench", "prefix", "--quick")
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.skipif(not NO_ACCELERATOR, reason="the platform is chosen for machines without an accelerator")
def test_the_likelihood_bench_works_out_of_the_box(tmp_path):
    run = cli("bench", "likelihood", "--quick", "--json", str(tmp_path / "result.json"))
    assert run.returncode == 0, run.stderr[-3000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["device"] == "cpu" and result["ratio"] > 0


@pytest.mark.skipif(not NO_ACCELERATOR, reason="the platform is chosen for machines without an accelerator")
def test_too_late_to_choose_a_platform_is_said():
    environment = {name: value for name, value in os.environ.items() if name != "VERL_PLATFORM"}
    code = "import verl\nfrom verl_softthink.standalone import choose_platform\nchoose_platform()"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    assert "set VERL_PLATFORM=cpu before verl is imported" in run.stderr


@pytest.mark.vllm
@pytest.mark.skipif(not NO_ACCELERATOR, reason="the platform is chosen for machines without an accelerator")
def test_the_rollout_bench_works_out_of_the_box_and_ends_in_order(tmp_path):
    arguments = ("--batch", "2", "--tokens", "8", "--repeats", "1", "--json", str(tmp_path / "result.json"))
    run = cli("bench", "rollout", *arguments)
    assert run.returncode == 0, run.stderr[-3000:]
    assert json.loads((tmp_path / "result.json").read_text())["ratio"] > 0
    assert "force killing" not in run.stdout + run.stderr
