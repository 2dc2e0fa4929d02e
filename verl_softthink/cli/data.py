"""``verl-softthink data ...``: one command per data set of the hub, and the generated ones."""

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(no_args_is_help=True, help="Data sets as verl parquet files.")

Out = Annotated[Path, typer.Option(help="Directory of the parquet files.")]
Prompt = Annotated[str | None, typer.Option(help="How questions are asked: boxed, final_answer ... (data/prompts.py).")]


def _add_source(name: str, summary: str) -> None:
    @data.command(name, help=summary)
    def command(
        out: Out = Path("outputs/data"),
        file: Annotated[
            list[str] | None,
            typer.Option(help="SPLIT=FILE: a published .jsonl, .json or .parquet instead of the hub; repeat for more."),
        ] = None,
        prompt: Prompt = None,
        limit: Annotated[int | None, typer.Option(min=1, help="At most so many problems of each split.")] = None,
        skip_unreadable: Annotated[bool, typer.Option("--skip-unreadable", help="Leave such records out.")] = False,
    ) -> None:
        from verl_softthink.data.prepare import parse_files, prepare

        prepare(name, out, files=parse_files(file or []), prompt=prompt, limit=limit, skip=skip_unreadable)


for _name, _summary in (
    ("gsm8k", "GSM8K: grade-school word problems; train and test."),
    ("math", "MATH: competition problems; train and test."),
    ("math500", "MATH-500: its usual test subset."),
    ("deepscaler", "DeepScaleR-Preview: 40 thousand training problems."),
    ("dapo", "DAPO-Math: 17 thousand training problems with integer answers."),
    ("aime24", "AIME 2024: 30 test problems."),
    ("aime25", "AIME 2025: 30 test problems."),
):
    _add_source(_name, _summary)


@data.command("reasoning-gym")
def reasoning_gym(
    task: Annotated[str, typer.Option(help="Name of a reasoning-gym data set, e.g. chain_sum.")],
    out: Out = Path("outputs/data"),
    train: Annotated[int, typer.Option(min=1, help="Training problems.")] = 4096,
    test: Annotated[int, typer.Option(min=1, help="Test problems.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the training problems; the test has the next one.")] = 0,
) -> None:
    """Problems made by reasoning-gym, graded by verl_softthink.data.reasoning_gym."""
    from verl_softthink.data.reasoning_gym import prepare

    # Test first: a problem that both seeds make is left out of training.
    prepare(task, out, {"test": test, "train": train}, seed=seed)


@data.command("word-problems")
def word_problems(
    out: Out = Path("outputs/data/word_problems"),
    train: Annotated[int, typer.Option(min=1, help="Training problems.")] = 4096,
    heldout: Annotated[int, typer.Option(min=1, help="Held-out problems.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of both draws.")] = 0,
) -> None:
    """Sums and differences in plain language, for a small model."""
    from verl_softthink.data.word_problems import main

    main(out=out, train=train, heldout=heldout, digits=[1], seed=seed)


def add_to(app: typer.Typer) -> None:
    """Add the group ``data``."""
    app.add_typer(data, name="data")
