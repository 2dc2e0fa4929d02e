"""Every numbered example runs as a reader starts it, and says something."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("[0-9][0-9]_*") if path.suffix in (".py", ".sh"))
#: What only the first import of verl or vLLM in a process can show: these examples choose the platform by themselves.
OWN_PROCESS = [path for path in EXAMPLES if "choose_platform" in path.read_text()]


def _marks(path: Path) -> list[pytest.MarkDecorator]:
    return [pytest.mark.vllm] if "vllm_engine" in path.read_text() else []


def test_numbers_are_those_of_the_ladder():
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, 10)]


@pytest.fixture
def untouched():
    """Torch's default type and generator are as before when an example has run in this process."""
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng():
        yield
    torch.set_default_dtype(dtype)


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path not in OWN_PROCESS], ids=lambda path: path.name)
def test_example(path, untouched, capsys):
    runpy.run_path(str(path), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 3


@pytest.mark.parametrize("path", [pytest.param(path, marks=_marks(path), id=path.name) for path in OWN_PROCESS])
def test_example_with_a_process_of_its_own(path):
    environment = {name: value for name, value in os.environ.items() if name != "VERL_PLATFORM"}
    program = [sys.executable] if path.suffix == ".py" else ["bash"]
    run = subprocess.run(
        [*program, str(path)],
        cwd=ROOT,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    assert len(run.stdout.splitlines()) >= 3
