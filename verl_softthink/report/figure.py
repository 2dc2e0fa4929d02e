"""What the figures share: colours, size, and how they are written."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from verl_softthink.files.writing import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

# Okabe and Ito's palette: told apart by colour-blind readers, and by marker in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")


def new_figure(panels: int) -> tuple["Figure", list["Axes"]]:
    """A figure of panels beside each other; no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * panels + (1 if panels == 1 else 0), 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def save(figure: "Figure", output: Path) -> Path:
    """Write a PNG.

    Raises:
        FileError: it cannot be written.
    """
    with whole_file(output) as partial:
        figure.savefig(partial, dpi=150, format="png")
    logger.info("wrote %s", output)
    return output
