"""A progress bar for a run in another process, from the metrics file that it writes."""

import json
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Seconds between two looks at the file.
POLL_SECONDS = 0.5
_STARTING = "starting Ray, FSDP and vLLM (1 to 3 minutes)"
#: Lines of the log that are shown when a run fails.
LOG_TAIL = 30


def watch(metrics: Path, *, process: int, log: Path, steps: int) -> bool:
    """Follow a run until its process ends.

    Args:
        metrics: verl's file logger output.
        process: process id of the run.
        log: everything the run prints.
        steps: training steps the run will take.

    Returns:
        Whether the last step was reached; if not, the end of the log has been printed.
    """
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    seen = 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(_STARTING, total=steps)
        _tell(console, _STARTING)
        alive = True
        while alive:
            alive = _runs(process)
            records = _records(metrics)
            for record in records[seen:]:
                description = _describe(record)
                progress.update(task, completed=record["step"], description=description)
                _tell(console, description)
            seen = len(records)
            if alive:
                time.sleep(POLL_SECONDS)
    finished = bool(seen) and _records(metrics)[-1]["step"] >= steps
    if not finished:
        console.print(f"[red]The run ended before step {steps}.[/red] The end of {log}:")
        console.print(
            "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:]), markup=False, highlight=False
        )
    return finished


def _tell(console: Console, text: str) -> None:
    """A line for a log or a pipe, in which a bar is not drawn before the end."""
    if not console.is_terminal:
        console.print(text, markup=False, highlight=False)
        console.file.flush()


def _runs(process: int) -> bool:
    # A finished child that nobody has waited for yet is a zombie.
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def _records(metrics: Path) -> list[dict]:
    if not metrics.exists():
        return []
    # The last line may be half written.
    lines = metrics.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _describe(record: dict) -> str:
    data = record["data"]
    shown = []
    for name, label in (("critic/score/mean", "reward"), ("softthink/soft_fraction", "soft")):
        if name in data:
            shown.append(f"{label} {data[name]:.3f}")
    for name, value in data.items():
        if name.startswith("val-core/") and "/acc/mean@" in name:
            shown.append(f"held-out accuracy {value:.3f}")
    return f"step {record['step']}: " + ", ".join(shown)
