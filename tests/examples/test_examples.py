"""Every numbered example runs by itself, as a reader starts it, and says something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("[0-9][0-9]_*") if path.suffix in (".py", ".sh"))


def _marks(path: Path) -> list[pytest.MarkDecorator]:
    return [pytest.mark.vllm] if "vllm_engine" in path.read_text() else []


def test_numbers_are_unique():
    numbers = [path.name[:2] for path in EXAMPLES]
    assert len(numbers) >= 5 and len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("path", [pytest.param(path, marks=_marks(path), id=path.name) for path in EXAMPLES])
def test_example(path, tmp_path):
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
