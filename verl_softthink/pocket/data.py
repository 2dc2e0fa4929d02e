"""Problems as parquet files in verl's schema: ``python -m verl_softthink.pocket.data --out DIR --train N --val M``."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow
import pyarrow.parquet
import typer

from verl_softthink.pocket.tasks import Problem, generate

DATA_SOURCE = "pocket/clock_arithmetic"

logger = logging.getLogger(__name__)


def to_row(problem: Problem, index: int) -> dict[str, Any]:
    """One problem in the schema of verl's RLHFDataset."""
    return {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "user", "content": problem.question}],
        "ability": "arithmetic",
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {"split": problem.split, "index": index},
    }


def write_parquet(problems: Sequence[Problem], path: Path | str) -> None:
    """Write one row per problem, in order; ``extra_info.index`` is the row number.

    Raises:
        ValueError: no problems; parquet could not hold the schema of nothing.
    """
    if not problems:
        raise ValueError(f"no problems to write to {path}: ask for at least one")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [to_row(problem, index) for index, problem in enumerate(problems)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    logger.info("wrote %d problems to %s", len(rows), path)


def main(
    out: Annotated[Path, typer.Option(help="Folder for train.parquet and val.parquet.")],
    train: Annotated[int, typer.Option(min=1, help="Number of training problems.")] = 2048,
    val: Annotated[int, typer.Option(min=1, help="Number of held-out problems.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of both draws; the splits are disjoint for every seed.")] = 0,
) -> None:
    """Write the pocket reasoner's training and held-out problems for verl."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for split, count in (("train", train), ("val", val)):
        write_parquet(generate(split, count, seed), out / f"{split}.parquet")


if __name__ == "__main__":
    typer.run(main)
