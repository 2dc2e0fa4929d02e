"""Data sets of mathematical reasoning models, from the Hugging Face hub, as verl parquet files.

    python -m verl_softthink.data.reasoning --out outputs/data/reasoning

Training: DeepScaleR-Preview (40,315 problems). Evaluation: MATH-500 (Lightman et al. 2023, arXiv 2305.20050).
The answers are LaTeX expressions, to be graded with ``reward_kwargs.grader=math_verify``.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.data.prompts import boxed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubDataset:
    """Where a data set is, and its role; the problem and its answer are in the fields ``problem`` and ``answer``."""

    path: str
    hub_split: str
    split: str


DATASETS: dict[str, HubDataset] = {
    "deepscaler": HubDataset("agentica-org/DeepScaleR-Preview-Dataset", "train", "train"),
    "math500": HubDataset("HuggingFaceH4/MATH-500", "test", "test"),
}


def convert(records: Iterable[dict[str, str]], name: str) -> list[dict]:
    """Records with ``problem`` and ``answer`` as rows of verl's schema; ``name`` is one of ``DATASETS``."""
    return [
        training_row(
            source=name,
            messages=boxed(record["problem"]),
            answer=str(record["answer"]),
            split=DATASETS[name].split,
            index=index,
            question=record["problem"],
        )
        for index, record in enumerate(records)
    ]


def main(out: Annotated[Path, typer.Option(help="Directory of deepscaler.parquet and math500.parquet.")]) -> None:
    """Write DeepScaleR and MATH-500 as verl parquet files."""
    from datasets import load_dataset

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, dataset in DATASETS.items():
        rows = convert(load_dataset(dataset.path, split=dataset.hub_split), name)
        write_rows(rows, out / f"{name}.parquet")
        logger.info("wrote %s: %d problems", out / f"{name}.parquet", len(rows))


if __name__ == "__main__":
    typer.run(main)
