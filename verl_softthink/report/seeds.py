"""Several runs of one method, told apart by their seeds: one curve with a band."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from verl_softthink.report.metrics_file import Rows, read_metrics
from verl_softthink.report.tensorboard_file import has_events, read_events

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Band:
    """Mean and extremes over seeds at each of N steps.

    Attributes:
        steps, mean, low, high: N numbers each; low and high are the smallest and the largest run.
        seeds: how many runs.
    """

    steps: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def band(curves: list[tuple[list[int], list[float]]], label: str) -> Band:
    """Combine the curves of one label at the steps that all of them have.

    Raises:
        ValueError: the curves have no step in common.
    """
    values = [dict(zip(*curve, strict=True)) for curve in curves]
    common = sorted(set.intersection(*(set(curve) for curve in values)))
    if not common:
        raise ValueError(f"the {len(curves)} runs of {label!r} have no step in common; give each its own label")
    longest = max(len(curve) for curve in values)
    if len(common) < longest:
        logger.warning("%s: %d of %d steps are in every run; the others are left out", label, len(common), longest)
    columns = [[curve[step] for curve in values] for step in common]
    return Band(
        steps=common,
        mean=[sum(column) / len(column) for column in columns],
        low=[min(column) for column in columns],
        high=[max(column) for column in columns],
        seeds=len(curves),
    )


def read_run(path: Path) -> Rows:
    """The metrics of a run, from verl's file logger or else from TensorBoard's event files.

    Raises:
        FileNotFoundError: neither is there.
    """
    if path.is_file() and "tfevents" in path.name:
        path = path.parent
    if has_events(path) and not any(path.glob("metrics*.jsonl")):
        return read_events(path)
    return read_metrics(path)


def labelled(arguments: Iterable[str]) -> list[tuple[str, Path]]:
    """Arguments ``LABEL=PATH`` or ``PATH``, whose label is the name of the directory or file.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    pairs = []
    for argument in arguments:
        label, equals, rest = argument.partition("=")
        path = Path(rest if equals else argument)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: give a run's directory or file, as PATH or LABEL=PATH")
        name = path.parent.name if path.is_file() and path.suffix == ".jsonl" else path.stem
        pairs.append((label if equals and label else name or path.resolve().name, path))
    return pairs
