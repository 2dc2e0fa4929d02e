"""The progress of a run in another process, as a pipe or a log sees it."""

import json
import subprocess
import sys

import pytest

#: A run that writes a step for every line on its standard input.
RUN = """
import json, sys
with open(sys.argv[1], "a") as metrics:
    for step, line in enumerate(sys.stdin, start=1):
        metrics.write(json.dumps({"step": step, "data": {"critic/score/mean": float(line)}}) + chr(10))
        metrics.flush()
"""


@pytest.fixture
def watched(tmp_path):
    """A run under way and the command that follows it; both are gone afterwards."""
    (tmp_path / "train.log").write_text("first line\n[bold]last line\n")
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "metrics.jsonl")], stdin=subprocess.PIPE, text=True
    )
    command = "from verl_softthink.cli import app; app()"
    arguments = [
        "watch",
        tmp_path / "metrics.jsonl",
        "--process",
        run.pid,
        "--log",
        tmp_path / "train.log",
        "--steps",
        2,
    ]
    watch = subprocess.Popen(
        [sys.executable, "-c", command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield run, watch
    for process in (run, watch):
        process.kill()
        process.communicate()


def step(run: subprocess.Popen, reward: float) -> None:
    run.stdin.write(json.dumps(reward) + "\n")
    run.stdin.flush()


def test_every_step_is_a_line_as_soon_as_it_is_taken(watched):
    run, watch = watched
    assert watch.stdout.readline().startswith("starting Ray")
    step(run, 0.25)
    assert watch.stdout.readline() == "step 1: reward 0.250\n"
    step(run, 0.5)
    assert watch.stdout.readline() == "step 2: reward 0.500\n"
    run.stdin.close()
    run.wait()
    assert watch.wait(timeout=60) == 0


def test_a_run_that_ends_early_shows_its_log(watched):
    run, watch = watched
    step(run, 0.25)
    run.stdin.close()
    run.wait()
    output, _ = watch.communicate(timeout=60)
    assert watch.returncode != 0
    assert "The run ended before step 2." in output and output.rstrip().endswith("[bold]last line")
