"""Reading what verl's ``tensorboard`` logger wrote: event files, as the same rows as those of the file logger."""

from pathlib import Path

from verl_softthink.report.metrics_file import Rows

#: Event files, however deep under the directory of a run.
PATTERN = "*tfevents*"


def has_events(path: Path) -> bool:
    """Whether a directory holds event files."""
    return path.is_dir() and any(path.rglob(PATTERN))


def read_events(path: Path) -> Rows:
    """All scalars under a directory, in the order of their steps; a step written twice keeps the later value.

    Raises:
        ValueError: the event files hold no scalar.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps: dict[int, dict[str, tuple[float, float]]] = {}
    for folder in sorted({file.parent for file in path.rglob(PATTERN)}):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                step = steps.setdefault(event.step, {})
                if name not in step or step[name][0] <= event.wall_time:
                    step[name] = event.wall_time, event.value
    if not steps:
        raise ValueError(f"{path} has event files without a scalar: the run stopped before its first step")
    return [(step, {name: value for name, (_, value) in data.items()}) for step, data in sorted(steps.items())]
