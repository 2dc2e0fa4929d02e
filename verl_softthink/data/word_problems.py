"""Word problems of one sum or one difference, in plain language, for a small instruction-tuned model.

    python -m verl_softthink.data.word_problems --out outputs/data/word_problems

A problem is a *fact* (4 + 9, 52 - 17) told by a template with names and things. The splits are by fact: a fact that is
held out never appears in training, in no wording and in no order of the summands.
"""

import hashlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.data.prompts import PROMPTS

logger = logging.getLogger(__name__)

SOURCE = "word_problems"
NAMES = ("Ava", "Ben", "Cora", "Dan", "Ella", "Finn", "Gina", "Hugo", "Iris", "Jack", "Kira", "Leo", "Mia", "Noah")
THINGS = ("apples", "books", "buttons", "cards", "coins", "eggs", "marbles", "pencils", "shells", "stamps", "stickers")
#: Half of the wordings of each operation name it, and half tell a story from which it must be understood.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "+": (
        "What is {a} plus {b}?",
        "How much is {a} plus {b}?",
        "What is the sum of {a} and {b}?",
        "Add {b} to {a}.",
        "{name} has {a} {things}. {other} gives {name} {b} more {things}. How many {things} does {name} have now?",
        "{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
        "There are {a} {things} in a box. {name} adds {b} {things}. How many {things} are in the box now?",
        "{name} has {a} {things} and {other} has {b} {things}. How many {things} do they have together?",
    ),
    "-": (
        "What is {a} minus {b}?",
        "How much is {a} minus {b}?",
        "What is the difference of {a} and {b}?",
        "Subtract {b} from {a}.",
        "{name} has {a} {things} and gives {b} of them to {other}. How many {things} does {name} have left?",
        "{name} had {a} {things} and lost {b} {things}. How many {things} are left?",
        "{name} had {a} {things} and sold {b}. How many {things} does {name} have left?",
        "There were {a} {things}. {name} took {b} of them away. How many {things} are left?",
    ),
}
#: Smallest and largest number of a fact, by how many digits its numbers may have.
RANGES: dict[int, tuple[int, int]] = {1: (2, 9), 2: (10, 99)}
#: Quarters of all facts, by hash.
SPLITS: dict[str, frozenset[int]] = {"train": frozenset({0, 1, 2}), "heldout": frozenset({3})}
_BUCKETS = 4


@dataclass(frozen=True)
class Fact:
    """``a operator b``, with a > b for differences."""

    a: int
    operator: str
    b: int

    @property
    def answer(self) -> int:
        """The value of the fact."""
        return self.a + self.b if self.operator == "+" else self.a - self.b

    @property
    def split(self) -> str:
        """The split that owns this fact; 4 + 9 and 9 + 4 are one fact."""
        a, b = sorted((self.a, self.b), reverse=True)
        bucket = hashlib.blake2s(f"{a}{self.operator}{b}".encode()).digest()[0] % _BUCKETS
        return next(name for name, buckets in SPLITS.items() if bucket in buckets)


@dataclass(frozen=True)
class WordProblem:
    """One fact and its wording."""

    question: str
    fact: Fact


def draw(rng: random.Random, digits: tuple[int, ...]) -> WordProblem:
    """One problem of any split: digits, operation, template, names and things are uniform."""
    low, high = RANGES[rng.choice(digits)]
    operator = rng.choice(tuple(TEMPLATES))
    a, b = rng.randint(low, high), rng.randint(low, high)
    while operator == "-" and a <= b:
        a, b = rng.randint(low, high), rng.randint(low, high)
    name, other = rng.sample(NAMES, 2)
    template = rng.choice(TEMPLATES[operator])
    return WordProblem(
        template.format(name=name, other=other, things=rng.choice(THINGS), a=a, b=b), Fact(a, operator, b)
    )


def generate(split: str, count: int, seed: int, digits: tuple[int, ...]) -> list[WordProblem]:
    """``count`` different problems of one split, the same for the same arguments.

    Args:
        digits: how many digits the numbers of a problem may have; each problem draws one of them.

    Raises:
        ValueError: unknown split, digits that have no range, or a negative count.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown: use one of {', '.join(SPLITS)}")
    if not digits or not set(digits) <= set(RANGES):
        raise ValueError(f"digits={digits!r}: give one or more of {', '.join(map(str, RANGES))}")
    if count < 0:
        raise ValueError(f"count={count} is negative: give the number of problems to draw")
    rng = random.Random(f"{split}-{seed}")
    found: dict[WordProblem, None] = {}
    while len(found) < count:
        problem = draw(rng, digits)
        if problem.fact.split == split:
            found[problem] = None
    return list(found)


def rows(problems: list[WordProblem], split: str, prompt: Callable[[str], list[dict[str, str]]]) -> list[dict]:
    """The problems in verl's parquet schema, asked with ``prompt``."""
    return [
        training_row(
            source=SOURCE,
            messages=prompt(problem.question),
            answer=str(problem.fact.answer),
            split=split,
            index=index,
            question=problem.question,
        )
        for index, problem in enumerate(problems)
    ]


def main(
    out: Annotated[Path, typer.Option(help="Directory of train.parquet and heldout.parquet.")],
    train: Annotated[int, typer.Option(min=1, help="Training problems.")] = 4096,
    heldout: Annotated[int, typer.Option(min=1, help="Held-out problems.")] = 128,
    digits: Annotated[list[int], typer.Option(help="Digits of the numbers, 1 or 2; repeat for a mixture.")] = [1],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seed of both draws; the splits are disjoint for every seed.")] = 0,
    prompt: Annotated[str, typer.Option(help=f"How questions are asked: {', '.join(PROMPTS)}.")] = "add_or_subtract",
) -> None:
    """Write word problems of sums and differences as verl parquet files."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if prompt not in PROMPTS:
        raise ValueError(f"--prompt {prompt} is unknown: use one of {', '.join(PROMPTS)}")
    for split, count in (("train", train), ("heldout", heldout)):
        problems = generate(split, count, seed, tuple(digits))
        path = out / f"{split}.parquet"
        write_rows(rows(problems, split, PROMPTS[prompt]), path)
        logger.info("wrote %s: %d problems", path, len(problems))


if __name__ == "__main__":
    typer.run(main)
