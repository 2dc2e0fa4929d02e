"""Reading what verl's ``file`` logger wrote: one JSON object per line, ``{"step": 3, "data": {"name": value}}``.

The logger truncates its file when it opens it, so a resumable run writes a new file on every start, into one
directory, with names that sort by time (``VERL_FILE_LOGGER_PATH=RUN/metrics-<start>.jsonl``).
"""

import json
import logging
import math
import re
from pathlib import Path

logger = logging.getLogger(__name__)

Rows = list[tuple[int, dict[str, object]]]
#: Units of what a run has spent.
STEPS, TOKENS, SECONDS = UNITS = ("step", "tokens", "seconds")
STEP_SECONDS = "timing_s/step"
#: Files of one run, when a directory is given.
PATTERN = "metrics*.jsonl"
_VALIDATION = re.compile(r"val-core/.+/(acc|reward)/mean@\d+")


def read_metrics(path: Path | str) -> Rows:
    """All steps of a run, in order.

    A step that was logged twice (the run was resumed from an earlier checkpoint) keeps the later values. A last line
    that a crash cut short is left out, with a warning.

    Args:
        path: a metrics file, or the directory of a run with one file per start.

    Raises:
        FileNotFoundError: when there is no metrics file.
        ValueError: a line other than the last is not what verl writes, or nothing was logged at all.
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
        raise ValueError(f"{path} has no complete line: the run stopped before its first step")
    return sorted(steps.items())


def _read_file(file: Path) -> Rows:
    rows: Rows = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            # The logger ends every record with a newline, so only a cut one has none.
            if not line.endswith("\n"):
                logger.warning("%s:%d: the last line was cut short and is left out (%d bytes)", file, number, len(line))
                break
            try:
                record = json.loads(line)
                rows.append((int(record["step"]), dict(record["data"])))
            except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{file}:{number} is not a line of verl's file logger ({error}); give the .jsonl file of a run"
                ) from error
    return rows


def series(rows: Rows, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric; nan where it was logged without a value.

    Raises:
        ValueError: no step has the metric; the message names the ones that exist.
    """
    found = [(step, data[name]) for step, data in rows if name in data]
    if not found:
        group = name.partition("/")[0]
        names = sorted({key for _, data in rows for key in data})
        alike = [key for key in names if key.partition("/")[0] == group] or names
        raise ValueError(f"no step has the metric {name!r}; there are: {', '.join(alike) or 'none'}")
    return [step for step, _ in found], [math.nan if value is None else float(value) for _, value in found]


def tokens_of_steps(rows: Rows) -> tuple[list[int], list[float]]:
    """Steps, and the response tokens that each of them generated.

    verl logs the tokens of a batch (prompts and responses) and the mean lengths of both, not how many responses there
    were; their share of the tokens is the ratio of the mean lengths.
    """
    steps, totals = series(rows, "perf/total_num_tokens")
    prompts = series(rows, "prompt_length/mean")[1]
    responses = series(rows, "response_length/mean")[1]
    shares = (response / (prompt + response) for prompt, response in zip(prompts, responses, strict=True))
    return steps, [total * share for total, share in zip(totals, shares, strict=True)]


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
