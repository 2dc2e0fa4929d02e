"""A progress bar for a run in another process, from the metrics file that it writes."""

import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verl_softthink.errors import about_file
from verl_softthink.files.reading import regular
from verl_softthink.report.metrics_file import as_number, read_line

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

    Raises:
        FileError: the metrics are not those of a run, or there is no log.
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
            for step, data in records[seen:]:
                with about_file(metrics, ValueError):
                    description = _describe(step, data)
                progress.update(task, completed=step, description=description)
                _tell(console, description)
            seen = len(records)
            if alive:
                time.sleep(POLL_SECONDS)
    finished = bool(seen) and _records(metrics)[-1][0] >= steps
    if not finished:
        console.print(f"[red]The run ended before step {steps}.[/red] The end of {log}:")
        with about_file(regular(log)):
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
        console.print("\n".join(tail), markup=False, highlight=False)
    return finished


def _tell(console: Console, text: str) -> None:
    """A line for a log or a pipe, in which a bar is not drawn before the end."""
    if not console.is_terminal:
        console.print(text, markup=False, highlight=False)
        console.file.flush()


def _runs(process: int) -> bool:
    try:
        # A finished child that nobody has waited for yet is a zombie.
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _records(metrics: Path) -> list[tuple[int, dict]]:
    # Under way the file may not exist yet, and its last line may be half written.
    if not metrics.exists():
        return []
    with about_file(regular(metrics)):
        lines = metrics.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [read_line(line, metrics, number) for number, line in enumerate(lines, start=1)]


def _describe(step: int, data: dict) -> str:
    shown = []
    for name, label in (("critic/score/mean", "reward"), ("softthink/soft_fraction", "soft")):
        if name in data:
            shown.append(f"{label} {as_number(data[name], name, step):.3f}")
    for name, value in data.items():
        if name.startswith("val-core/") and "/acc/mean@" in name:
            shown.append(f"held-out accuracy {as_number(value, name, step):.3f}")
    return f"step {step}: " + ", ".join(shown)
