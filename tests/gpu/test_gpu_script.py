"""The GPU script as far as it runs without one: its commands exist, and what it leaves is collected."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from verl_softthink.cli import app

from .collect import collect

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/gpu/run.sh"


def commands(*options: str, **environment: str) -> dict[str, list[str]]:
    result = subprocess.run(
        ["bash", str(SCRIPT), "--list", *options, "OUT"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.partition(": ") for line in result.stdout.splitlines())
    return {name: shlex.split(command) for name, _, command in lines}


def test_every_runner_and_mode_is_covered():
    names = commands(MODEL="somewhere")
    modes = itertools.product(("v1", "v2"), ("eager", "graphs"), (1, 2))
    assert {f"parity-{runner}-{mode}-tp{ranks}" for runner, mode, ranks in modes} <= set(names)
    assert "SOFTTHINK_TEST_RANKS=2" in names["parity-v2-graphs-tp2"]
    assert "SOFTTHINK_TEST_GRAPHS=1" in names["parity-v2-graphs-tp2"]
    assert {f"rollout-{batch}-runner-{runner}" for batch in (64, 256) for runner in ("v1", "v2")} <= set(names)
    assert "--tokens 2048" in " ".join(names["rollout-256-runner-v2"])
    assert {"step-time-soft_grpo", "step-time-grpo", "bench-head", "collect"} <= set(names)
    assert not any(name.startswith("step-time") for name in commands(MODEL=""))


@pytest.mark.parametrize("option", ["--quick", None])
def test_every_file_and_option_named_exists(option):
    for words in commands(*([option] if option else []), MODEL="somewhere").values():
        for word in words:
            if re.match(r"(tests|recipes)/", word):
                assert (ROOT / word).exists(), word
        if "verl_softthink" in words:
            arguments = words[words.index("verl_softthink") + 1 :]
            shown = CliRunner().invoke(app, [*arguments[:2], "--help"], env={"COLUMNS": "200"})
            assert shown.exit_code == 0, shown.output
            for flag in (word for word in arguments if word.startswith("--")):
                assert flag in shown.output, flag


def test_results_are_collected(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "parity-v2-eager.status").write_text("ok\n")
    (logs / "parity-v2-eager.xml").write_text(
        '<testsuites><testsuite tests="7" failures="1" errors="0" skipped="2"/></testsuites>'
    )
    (tmp_path / "rollout-64-runner-v2.json").write_text(json.dumps({"ratio": 0.97}))
    for arm, seconds in (("soft_grpo", 3.3), ("grpo", 3.0)):
        folder = tmp_path / f"step-time-{arm}"
        folder.mkdir()
        rows = [{"step": step, "data": {"timing_s/step": 99.0 if step <= 2 else seconds}} for step in range(1, 6)]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    subprocess.run([sys.executable, str(ROOT / "tests/gpu/collect.py"), str(tmp_path)], check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == {"parity-v2-eager": "ok"}
    assert result["tests"]["parity-v2-eager"] == {"tests": 7, "failures": 1, "errors": 0, "skipped": 2}
    assert result["benches"] == {"rollout-64-runner-v2": {"ratio": 0.97}}
    assert result["step_time"]["ratio"] == pytest.approx(1.1)
    assert result["hardware"]
    assert "torch" in result["versions"]
    # A second collection does not take the first one's result for a bench.
    assert set(collect(tmp_path)["benches"]) == {"rollout-64-runner-v2"}


def test_without_a_gpu_it_says_so(tmp_path):
    result = subprocess.run(
        ["bash", str(SCRIPT), str(tmp_path)],
        env=os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "torch finds no GPU" in result.stderr
