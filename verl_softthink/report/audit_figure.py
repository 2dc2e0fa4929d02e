"""The accuracies of an audit as a PNG: a point and its interval for every way of changing the thoughts."""

from collections.abc import Mapping
from pathlib import Path

from verl_softthink.report.figure import COLOURS, new_figure, save


def plot_audit(accuracy: Mapping[str, Mapping[str, float]], output: Path, *, baseline: str, title: str) -> Path:
    """Draw ``mean`` from ``low`` to ``high`` of every arm, the first one on top, and write ``output``.

    Args:
        accuracy: arm -> mean, low and high, shares between 0 and 1.
        baseline: the arm that the others are compared with; its mean is drawn as a line.
    """
    figure, (axes,) = new_figure(1)
    rows = range(len(accuracy), 0, -1)
    for row, interval in zip(rows, accuracy.values(), strict=True):
        mean = interval["mean"]
        spread = [[mean - interval["low"]], [interval["high"] - mean]]
        axes.errorbar([mean], [row], xerr=spread, color=COLOURS[0], marker="o", capsize=3)
    axes.axvline(accuracy[baseline]["mean"], color=COLOURS[1], linestyle=":", linewidth=1)
    axes.set_yticks(list(rows), [arm.replace("_", " ") for arm in accuracy])
    axes.set(title=title, xlabel="right answers (95 % interval over problems)", xlim=(-0.02, 1.02))
    axes.grid(axis="x", alpha=0.3)
    return save(figure, output)
