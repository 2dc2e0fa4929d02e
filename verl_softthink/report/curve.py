"""Learning curves of one or more runs as a PNG: training reward per step, and validation accuracy."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.report.metrics_file import Rows, read_metrics, series, validation_metric

logger = logging.getLogger(__name__)

TRAINING_REWARD = "critic/score/mean"
#: Steps in the running mean of the training reward, which is noisy with small batches.
DEFAULT_WINDOW = 5
# Okabe and Ito's palette: told apart by colour-blind readers, and by marker in print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def plot_curve(
    metrics_paths: Mapping[str, Path],
    output: Path,
    *,
    title: str = "",
    reward: str = TRAINING_REWARD,
    validation: str | None = None,
    window: int = DEFAULT_WINDOW,
) -> Path:
    """Draw the runs over each other and write ``output`` (PNG).

    Args:
        metrics_paths: label of each run, and its metrics file or directory.
        reward: metric of the left panel; every step is a dot, the line is the mean of the last ``window`` steps.
        validation: metric of the right panel; each run's only validation accuracy by default.

    Raises:
        ValueError: no runs, a window below 1, or a metric that a run does not have.
    """
    if not metrics_paths:
        raise ValueError("metrics_paths is empty: give at least one run")
    if window < 1:
        raise ValueError(f"window={window}: a mean needs at least 1 step")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    runs = {label: read_metrics(path) for label, path in metrics_paths.items()}
    names = {label: validation or validation_metric(rows) for label, rows in runs.items()}
    for index, (label, rows) in enumerate(runs.items()):
        colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
        _draw_reward(left, rows, reward, window, label, colour)
        steps, values = series(rows, names[label])
        right.plot(steps, values, color=colour, marker=marker, label=f"{label} (last {values[-1]:.3f})")
    left.set(title="Training reward", xlabel="step", ylabel=reward)
    right.set(title="Validation accuracy", xlabel="step", ylabel=" / ".join(sorted(set(names.values()))))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    if title:
        figure.suptitle(title)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150, format="png")
    logger.info("wrote %s", output)
    return output


def _draw_reward(axes, rows: Rows, reward: str, window: int, label: str, colour: str) -> None:
    steps, values = series(rows, reward)
    axes.plot(steps, values, ".", color=colour, alpha=0.35, markersize=5)
    suffix = f" (mean of {window} steps)" if window > 1 else ""
    axes.plot(steps, running_mean(values, window), color=colour, label=f"{label}{suffix}")


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of the last ``window`` values at each position, of what there is at the start; nan values are skipped."""
    means = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - window) : end] if not math.isnan(value)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means


def main(
    runs: Annotated[list[str], typer.Argument(help="Runs as LABEL=PATH (metrics file, or directory of a run).")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    title: str = "",
    reward: str = TRAINING_REWARD,
    validation: Annotated[str | None, typer.Option(help="Metric of the right panel.")] = None,
    window: Annotated[int, typer.Option(min=1, help="Steps in the running mean of the reward.")] = DEFAULT_WINDOW,
) -> None:
    """Draw learning curves of verl runs."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pairs = {}
    for run in runs:
        label, equals, path = run.partition("=")
        if not equals or not path:
            raise typer.BadParameter(f"{run!r}: write LABEL=PATH, e.g. soft=outputs/run1")
        pairs[label] = Path(path)
    plot_curve(pairs, out, title=title, reward=reward, validation=validation, window=window)


if __name__ == "__main__":
    typer.run(main)
