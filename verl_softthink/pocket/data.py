"""Problems as parquet files in verl's schema: ``python -m verl_softthink.pocket.data --out DIR --train N --val M``.

``extra_info.solution`` is the careful working, for methods that show it to a posterior.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import pyarrow
import pyarrow.parquet
import typer

from verl_softthink.pocket.tasks import MAX_OPERATIONS, STEP_SEPARATOR, generate

DATA_SOURCE = "pocket/clock_arithmetic"
ABILITY = "arithmetic"
#: Source of the longest problems in a file of their own, so that verl reports their accuracy by itself.
HARD_SOURCE = "pocket/longest"
#: Problems to draw for one of the longest: a quarter of all are.
_DRAWS_PER_HARD = 8

logger = logging.getLogger(__name__)


class WorkedProblem(Protocol):
    """A problem of any task, with its working step by step."""

    question: str
    answer: str
    split: str
    steps: tuple[str, ...]


def to_row(problem: WorkedProblem, index: int, source: str = DATA_SOURCE, ability: str = ABILITY) -> dict[str, Any]:
    """One problem in the schema of verl's RLHFDataset."""
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": problem.question}],
        "ability": ability,
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {"split": problem.split, "index": index, "solution": STEP_SEPARATOR.join(problem.steps)},
    }


def write_parquet(
    problems: Sequence[WorkedProblem], path: Path | str, source: str = DATA_SOURCE, ability: str = ABILITY
) -> None:
    """Write one row per problem, in order; ``extra_info.index`` is the row number.

    Raises:
        ValueError: no problems; parquet could not hold the schema of nothing.
    """
    if not problems:
        raise ValueError(f"no problems to write to {path}: ask for at least one")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [to_row(problem, index, source, ability) for index, problem in enumerate(problems)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    logger.info("wrote %d problems to %s", len(rows), path)


def main(
    out: Annotated[Path, typer.Option(help="Folder for train.parquet and val.parquet.")],
    train: Annotated[int, typer.Option(min=1, help="Number of training problems.")] = 2048,
    val: Annotated[int, typer.Option(min=1, help="Number of held-out problems.")] = 256,
    hard: Annotated[int, typer.Option(min=0, help="Number of held-out problems of the greatest length.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of all draws; the splits are disjoint for every seed.")] = 0,
) -> None:
    """Write the pocket reasoner's training and held-out problems for verl."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for split, count in (("train", train), ("val", val)):
        write_parquet(generate(split, count, seed), out / f"{split}.parquet")
    if hard:
        longest = [p for p in generate("val", hard * _DRAWS_PER_HARD, seed) if len(p.operators) == MAX_OPERATIONS]
        write_parquet(longest[:hard], out / "val_hard.parquet", HARD_SOURCE)


if __name__ == "__main__":
    typer.run(main)
