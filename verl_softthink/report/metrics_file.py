"""Reading what verl's ``file`` logger wrote: one JSON object per line, ``{"step": 3, "data": {"name": value}}``.

The logger truncates its file when it opens it, so a resumable run writes a new file on every start, into one
directory, with names that sort by time (``VERL_FILE_LOGGER_PATH=RUN/metrics-<start>.jsonl``).
"""

import logging
import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from verl_softthink.errors import FileError, about_file
from verl_softthink.files.reading import checked, parse_json, regular

logger = logging.getLogger(__name__)

Rows = list[tuple[int, dict[str, object]]]
#: Units of what a run has spent.
STEPS, TOKENS, SECONDS = UNITS = ("step", "tokens", "seconds")
STEP_SECONDS = "timing_s/step"
#: Files of one run, when a directory is given.
PATTERN = "metrics*.jsonl"
_ADVICE = "give the .jsonl file of a run"
_LENGTHS = ("prompt_length/mean", "response_length/mean")
#: No metric of a run is larger, and above it the arithmetic of an axis overflows.
LARGEST = 1e100
_VALIDATION = re.compile(r"val-core/.+/(acc|reward)/mean@\d+")


class _Record(BaseModel):
    # A step is drawn as a float, which has every whole number below this one.
    step: Annotated[int, Field(ge=0, lt=2**53)]
    data: dict[str, Any]


def read_metrics(path: Path | str) -> Rows:
    """All steps of a run, in order.

    A step that was logged twice (the run was resumed from an earlier checkpoint) keeps the later values. A last line
    that a crash cut short is left out, with a warning.

    Args:
        path: a metrics file, or the directory of a run with one file per start.

    Raises:
        FileNotFoundError: when there is no metrics file.
        FileError: a line other than the last is not what verl writes, or nothing was logged at all.
    """
    path = Path(path)
    files = sorted(path.glob(PATTERN)) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path} has no {PATTERN}; add trainer.logger=[console,file] to the run")
    steps: dict[int, dict[str, object]] = {}
    for file in files:
        for step, data in _read_file(file):
            steps.setdefault(step, {}).update(data)
    if not steps:
        raise FileError(path, "it has no complete line: the run stopped before its first step")
    return sorted(steps.items())


def _read_file(file: Path) -> Rows:
    rows: Rows = []
    with about_file(regular(file)), file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            # The logger ends every record with a newline, so only a cut one has none.
            if not line.endswith("\n"):
                logger.warning("%s:%d: the last line was cut short and is left out (%d bytes)", file, number, len(line))
                break
            rows.append(read_line(line, file, number))
    return rows


def read_line(line: str, file: Path, number: int) -> tuple[int, dict[str, object]]:
    """Step and data of one line.

    Raises:
        FileError: naming file and line, and what verl's file logger does not write.
    """
    place = f"{file}:{number}"
    record = checked(_Record, parse_json(line, place, _ADVICE), place, f"no line of verl's file logger; {_ADVICE}")
    return record.step, record.data


def as_number(value: object, name: str, step: int) -> float:
    """The value of a metric at a step; nan where it was logged without one.

    Raises:
        ValueError: it is neither, or too large to be drawn.
    """
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if abs(number) > LARGEST:
        raise ValueError(f"the metric {name!r} is {value!r:.60} at step {step}, not a number up to {LARGEST:g}")
    return number


def series(rows: Rows, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric; nan where it was logged without a value.

    Raises:
        ValueError: no step has the metric, in which case the message names those that exist, or it is no number.
    """
    found = [(step, data[name]) for step, data in rows if name in data]
    if not found:
        group = name.partition("/")[0]
        names = sorted({key for _, data in rows for key in data})
        alike = [key for key in names if key.partition("/")[0] == group] or names
        raise ValueError(f"no step has the metric {name!r}; there are: {', '.join(alike) or 'none'}")
    return [step for step, _ in found], [as_number(value, name, step) for step, value in found]


def tokens_of_steps(rows: Rows) -> tuple[list[int], list[float]]:
    """Steps, and the response tokens that each of them generated.

    verl logs the tokens of a batch (prompts and responses) and the mean lengths of both, not how many responses there
    were; their share of the tokens is the ratio of the mean lengths.

    Raises:
        ValueError: a metric is missing, or no number.
    """
    steps, totals = series(rows, "perf/total_num_tokens")
    prompts, responses = (dict(zip(*series(rows, name), strict=True)) for name in _LENGTHS)
    lacking = [step for step in steps if not prompts.get(step, 0.0) + responses.get(step, 0.0) > 0]
    if lacking:
        raise ValueError(f"step {lacking[0]} has tokens and no lengths ({', '.join(_LENGTHS)}) that are above 0")
    return steps, [
        total * responses.get(step, 0.0) / (prompts.get(step, 0.0) + responses.get(step, 0.0))
        for step, total in zip(steps, totals, strict=True)
    ]


def elapsed(rows: Rows, unit: str) -> dict[int, float]:
    """What a run had spent by the end of each step, from 0 before the first one.

    Args:
        unit: one of ``UNITS``: steps; response tokens generated; seconds of its steps, without start-up.
    """
    if unit == STEPS:
        return {step: float(step) for step, _ in rows}
    spent = dict(zip(*(tokens_of_steps(rows) if unit == TOKENS else series(rows, STEP_SECONDS)), strict=True))
    total, found = 0.0, {}
    for step, _ in rows:
        total += spent.get(step, 0.0)
        found[step] = total
    return found


def validated(rows: Rows) -> bool:
    """Whether the run has a validation accuracy."""
    return any(_VALIDATION.fullmatch(key) for _, data in rows for key in data)


def validation_metric(rows: Rows) -> str:
    """Name of the run's validation accuracy, ``val-core/<data source>/acc/mean@<n>``.

    Raises:
        ValueError: there is none, or there are several data sources to choose from.
    """
    names = sorted({key for _, data in rows for key in data if _VALIDATION.fullmatch(key)})
    if not names:
        groups = sorted({key.partition("/")[0] for _, data in rows for key in data})
        raise ValueError(
            "the run has no validation accuracy (val-core/.../mean@n); set trainer.test_freq > 0 or "
            f"trainer.val_before_train=True. There are metrics of: {', '.join(groups)}"
        )
    if len(names) > 1:
        raise ValueError(f"the run has several validation accuracies; name one of: {', '.join(names)}")
    return names[0]
