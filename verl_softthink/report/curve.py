"""Learning curves of one or more runs as a PNG: training reward per step, and validation accuracy.

Runs of one label are seeds of one method: their mean is the line, their smallest and largest value the band.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from verl_softthink.errors import about_file
from verl_softthink.report.figure import COLOURS, MARKERS, new_figure, save
from verl_softthink.report.metrics_file import STEPS, UNITS, Rows, elapsed, series, validated, validation_metric
from verl_softthink.report.seeds import band, read_run

TRAINING_REWARD = "critic/score/mean"
#: Steps in the running mean of the training reward, which is noisy with small batches.
DEFAULT_WINDOW = 5
#: Names of the horizontal axis by unit.
_AXES = {"step": "step", "tokens": "generated tokens", "seconds": "seconds of training steps"}
#: Characters of a metric's name that fit beside a panel in ordinary letters.
LONG_NAME = 30


def plot_curve(
    runs: Sequence[tuple[str, Path]],
    output: Path,
    *,
    title: str = "",
    reward: str = TRAINING_REWARD,
    validation: str | None = None,
    window: int = DEFAULT_WINDOW,
    unit: str = STEPS,
) -> Path:
    """Draw the runs over each other and write ``output`` (PNG).

    Args:
        runs: label of each run, and its directory or metrics file; runs of one label are seeds of one method.
        reward: metric of the left panel; the line is the mean of the last ``window`` steps. A single run's steps are
            dots as well.
        validation: metric of the right panel; each run's only validation accuracy by default. Where no run was
            validated there is no right panel.
        unit: of the horizontal axis, one of ``metrics_file.UNITS``; of several seeds the mean.

    Raises:
        FileError: a run is damaged, or lacks a metric.
        ValueError: no runs, a window below 1, or an unknown unit.
    """
    if not runs:
        raise ValueError("runs is empty: give at least one run")
    if window < 1:
        raise ValueError(f"window={window}: a mean needs at least 1 step")
    if unit not in UNITS:
        raise ValueError(f"x={unit!r} is no unit of a run's progress; use one of {', '.join(UNITS)}")
    groups: dict[str, list[Rows]] = {}
    for label, path in runs:
        rows = read_run(path)
        with about_file(path, ValueError, ArithmeticError):
            series(rows, reward)
            elapsed(rows, unit)
            if validated(rows) or validation is not None:
                series(rows, validation or validation_metric(rows))
        groups.setdefault(label, []).append(rows)
    with_validation = validation is not None or any(validated(rows) for seeds in groups.values() for rows in seeds)
    figure, panels = new_figure(2 if with_validation else 1)
    left, names = panels[0], set()
    for index, (label, seeds) in enumerate(groups.items()):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        _draw_reward(left, seeds, reward, window, unit, label, colour)
        if with_validation:
            names.add(_draw_validation(panels[1], seeds, validation, unit, label, colour, marker))
    left.set(title="Validation" if reward.startswith("val-") else "Training")
    # Names of validation metrics are long.
    left.set_ylabel(reward, fontsize="small" if len(reward) < LONG_NAME else "x-small")
    if with_validation:
        panels[1].set(title="Validation")
        panels[1].set_ylabel(" / ".join(sorted(names)), fontsize="x-small")
    for axes in panels:
        axes.set_xlabel(_AXES[unit])
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small", framealpha=0.6)
        if unit == STEPS:
            axes.xaxis.get_major_locator().set_params(integer=True)
    if title:
        figure.suptitle(title)
    return save(figure, output)


def _draw_reward(axes, seeds: list[Rows], reward: str, window: int, unit: str, label: str, colour: str) -> None:
    curves = [series(rows, reward) for rows in seeds]
    if len(curves) == 1:
        steps, values = curves[0]
        axes.plot(_spent(seeds, steps, unit), values, ".", color=colour, alpha=0.35, markersize=5)
    smooth = band([(steps, running_mean(values, window)) for steps, values in curves], label)
    details = [f"mean of {window} steps"] if window > 1 else []
    details += [f"{smooth.seeds} seeds"] if smooth.seeds > 1 else []
    spent = _spent(seeds, smooth.steps, unit)
    axes.plot(spent, smooth.mean, color=colour, label=f"{label} ({', '.join(details)})" if details else label)
    axes.fill_between(spent, smooth.low, smooth.high, color=colour, alpha=0.15, linewidth=0)


def _draw_validation(
    axes, seeds: list[Rows], validation: str | None, unit: str, label: str, colour: str, marker: str
) -> str:
    names = {validation or validation_metric(rows) for rows in seeds}
    if len(names) > 1:
        raise ValueError(f"the runs of {label!r} have different validation metrics {sorted(names)}; name one of them")
    (name,) = names
    curve = band([series(rows, name) for rows in seeds], label)
    last = f"last {curve.mean[-1]:.3f}"
    if curve.seeds > 1:
        last += f", {curve.low[-1]:.3f} to {curve.high[-1]:.3f}"
    spent = _spent(seeds, curve.steps, unit)
    axes.plot(spent, curve.mean, color=colour, marker=marker, label=f"{label} ({last})")
    axes.fill_between(spent, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    return name


def _spent(seeds: list[Rows], steps: list[int], unit: str) -> list[float]:
    """What the runs had spent by each of the steps, mean over the runs."""
    spent = [elapsed(rows, unit) for rows in seeds]
    return [sum(run[step] for run in spent) / len(spent) for step in steps]


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of the last ``window`` values at each position, of what there is at the start; nan values are skipped."""
    means = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - window) : end] if not math.isnan(value)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means
