"""pass@k curves of one or more evaluations as a PNG.

An evaluation is a JSON file ``{"modes": {MODE: {"pass_at_k": {"k": [...], "mean": [...], "low": [...], "high":
[...]}}}}``: a mode is a way of decoding (soft, discrete ...), ``mean`` the probability that at least one of k responses
is right, averaged over the problems, and ``low`` to ``high`` its confidence interval. Other keys are ignored.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from verl_softthink.files.reading import checked, read_json
from verl_softthink.report.figure import COLOURS, MARKERS, new_figure, save

#: No evaluation draws more responses to one problem, and a logarithmic axis has room for fewer.
LARGEST_K = 2**20
Probabilities = list[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]]


class PassAtK(BaseModel):
    """One curve: four lists of equal length."""

    k: list[Annotated[int, Field(ge=1, le=LARGEST_K)]]
    mean: Probabilities
    low: Probabilities
    high: Probabilities

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in type(self).model_fields}
        if not self.k or len(set(lengths.values())) > 1:
            raise ValueError(f"k, mean, low and high must be lists of one length, not {lengths}")
        if any(not low <= mean <= high for low, mean, high in zip(self.low, self.mean, self.high, strict=True)):
            raise ValueError("low <= mean <= high does not hold everywhere")
        return self


class Mode(BaseModel):
    """One way of decoding; majority votes are missing from evaluations of before they were counted."""

    pass_at_k: PassAtK
    majority_at_k: PassAtK | None = None


class Evaluation(BaseModel):
    """The part of an evaluation that is drawn."""

    modes: Annotated[dict[str, Mode], Field(min_length=1)]


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation.

    Raises:
        FileError: naming the file, the key and what is wrong with it.
    """
    return checked(Evaluation, read_json(path), path, "no evaluation")


def plot_pass_at_k(evaluations: list[tuple[str, Path]], output: Path, *, title: str = "") -> Path:
    """Draw every mode of every evaluation, with its confidence interval as a band, and write ``output`` (PNG)."""
    figure, (axes,) = new_figure(1)
    curves = []
    for label, path in evaluations:
        for mode, curve in read_evaluation(path).modes.items():
            curves.append((mode if len(evaluations) == 1 else f"{label}: {mode}", curve.pass_at_k))
    for index, (name, curve) in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(curve.k, curve.mean, color=colour, marker=MARKERS[index % len(MARKERS)], label=name)
        axes.fill_between(curve.k, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    ticks = sorted({k for _, curve in curves for k in curve.k})
    axes.set_xticks(ticks, [str(k) for k in ticks])
    axes.minorticks_off()
    axes.set(title=title or "pass@k", xlabel="k responses", ylabel="at least one is right")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, output)
