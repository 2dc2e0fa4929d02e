"""Whole training runs in a process of their own: the command, what it left behind, and how it ended."""

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
#: Inherited by every process of a run, so that those which outlive it can be found.
MARK = "SOFTTHINK_TEST_RUN"
#: Far above what a run of a few steps needs on two busy cores: about two minutes.
LIMIT_SECONDS = 800


@dataclass(frozen=True)
class Run:
    """How a run ended; ``metrics`` by step."""

    out: Path
    returncode: int
    log: str
    metrics: dict[int, dict]
    mark: str

    def survivors(self) -> list[psutil.Process]:
        """Processes of the run that do not end by themselves once its main process is gone."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        _, alive = psutil.wait_procs(found, timeout=60)
        return alive


def run(command: list[str], out: Path, **environment: str) -> Run:
    """Run ``command``, which leaves metrics in ``out/metrics.jsonl``, until it ends.

    Raises:
        subprocess.TimeoutExpired: after ``LIMIT_SECONDS``.
    """
    mark = uuid.uuid4().hex
    metrics, log = out / "metrics.jsonl", out / f"{mark}.log"
    settings = {
        "VERL_PLATFORM": "cpu",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "VERL_FILE_LOGGER_PATH": str(metrics),
        MARK: mark,
    }
    with log.open("w") as stream:
        done = subprocess.run(
            command,
            env=os.environ | settings | environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_SECONDS,
            cwd=ROOT,
        )
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    records = {record["step"]: record["data"] for record in map(json.loads, lines)}
    return Run(out, done.returncode, log.read_text(), records, mark)


def run_recipe(script: str, out: Path, *overrides: str, fails: bool = False, **environment: str) -> Run:
    """Run ``recipes/<script>`` into ``out``; it must succeed, or fail where ``fails`` says so."""
    ended = run(
        ["bash", str(ROOT / "recipes" / script), *overrides], out, OUT=str(out), PYTHON=sys.executable, **environment
    )
    assert (ended.returncode != 0) == fails, ended.log[-6000:]
    return ended


def small_batch(prompts: int, responses: int, micro_batch: int) -> list[str]:
    """Overrides for ``prompts`` x ``responses`` rows a step, in micro-batches of ``micro_batch`` rows."""
    return [
        *(f"data.train_batch_size={prompts}", f"actor_rollout_ref.actor.ppo_mini_batch_size={prompts}"),
        f"actor_rollout_ref.rollout.n={responses}",
        f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={micro_batch}",
        f"actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu={micro_batch}",
        f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={micro_batch}",
    ]


def faults(fault: str = "") -> dict[str, str]:
    """Environment that loads ``watched_trainer`` into every process of a run; ``fault`` is explained there."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return {"VERL_USE_EXTERNAL_MODULES": "watched_trainer", "PYTHONPATH": path, "FAULT": fault}
