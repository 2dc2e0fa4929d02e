"""Reading what verl's ``tensorboard`` logger wrote: event files, as the same rows as those of the file logger."""

import logging
from pathlib import Path

from verl_softthink.errors import FileError, about_file
from verl_softthink.files.reading import regular
from verl_softthink.report.metrics_file import Rows

#: Event files, however deep under the directory of a run.
PATTERN = "*tfevents*"

#: What frames a record in an event file: its length and two checksums.
_FRAME_BYTES = 16

logger = logging.getLogger(__name__)


def has_events(path: Path) -> bool:
    """Whether a directory holds event files."""
    return path.is_dir() and any(path.rglob(PATTERN))


def read_events(path: Path) -> Rows:
    """All scalars under a directory, in the order of their steps; a step written twice keeps the later value.

    What cannot be read at the end of a file, as a crash leaves it, is left out, with a warning.

    Raises:
        FileError: an event file cannot be read, or none of them holds a scalar.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps: dict[int, dict[str, tuple[float, float]]] = {}
    for file in sorted(path.rglob(PATTERN)):
        with about_file(regular(file), DecodeError, ValueError, KeyError):
            _warn_of_rest(file)
            events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
            scalars = [(name, event) for name in events.Tags()["scalars"] for event in events.Scalars(name)]
        for name, event in scalars:
            step = steps.setdefault(event.step, {})
            if name not in step or step[name][0] <= event.wall_time:
                step[name] = event.wall_time, event.value
    if not steps:
        raise FileError(
            path, "no event file holds a scalar: the run stopped before its first step, or they are damaged"
        )
    return [(step, {name: value for name, (_, value) in data.items()}) for step, data in sorted(steps.items())]


def _warn_of_rest(file: Path) -> None:
    """TensorBoard stops at the first record that it cannot read, without a word."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    size = file.stat().st_size
    rest = size - sum(len(record) + _FRAME_BYTES for record in RawEventFileLoader(str(file)).Load())
    if rest:
        logger.warning("%s: the last %d of its %d bytes are cut short or damaged and are left out", file, rest, size)
