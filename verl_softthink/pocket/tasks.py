"""Clock arithmetic: chains of +, - and * on single digits, evaluated left to right, keeping the last digit.

``7+8*3-5`` means ((7+8)*3-5) mod 10, step by step: 7+8=5, 5*3=5, 5-5=0. Every step is one fact of a small table, but
the answer is a composition of three to six of them: a small model that does not write the steps down can only guess.

Problems belong to one of three splits by a hash of their text, so no seed can move a problem from one to another.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

MODULUS = 10
MIN_OPERATIONS = 3
MAX_OPERATIONS = 6
STEP_SEPARATOR = ";"
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: (left + right) % MODULUS,
    "-": lambda left, right: (left - right) % MODULUS,
    "*": lambda left, right: (left * right) % MODULUS,
}
# Operands 0 and 1 are left out: a product with them would hide an earlier mistake or ask for nothing.
SMALLEST_OPERAND = 2
LARGEST_OPERAND = 9

#: Draws without a new problem after which a task counts as exhausted: a tenth of all draws fall into a small split.
MOST_DRAWS_IN_VAIN = 10_000
# Tenths of all problems, by hash.
SPLITS: dict[str, range] = {"pretrain": range(8), "train": range(8, 9), "val": range(9, 10)}


class HasSplit(Protocol):
    """A problem of any task: hashable, and owned by one split."""

    @property
    def split(self) -> str: ...


AnyProblem = TypeVar("AnyProblem", bound=HasSplit)


def split_of(question: str) -> str:
    """The split that owns a problem, by a hash of its text."""
    bucket = int.from_bytes(hashlib.blake2s(question.encode(), digest_size=8).digest()) % 10
    return next(name for name, buckets in SPLITS.items() if bucket in buckets)


@dataclass(frozen=True)
class Problem:
    """One expression such as ``7+8*3-5``.

    Attributes:
        operands: n + 1 digits.
        operators: n of ``+``, ``-``, ``*``.
    """

    operands: tuple[int, ...]
    operators: tuple[str, ...]

    @property
    def question(self) -> str:
        """The expression, which is the whole user message."""
        tail = (f"{operator}{operand}" for operator, operand in zip(self.operators, self.operands[1:], strict=True))
        return f"{self.operands[0]}{''.join(tail)}"

    @property
    def steps(self) -> tuple[str, ...]:
        """The careful working, one ``left operator right=result`` per operation."""
        steps, value = [], self.operands[0]
        for operator, operand in zip(self.operators, self.operands[1:], strict=True):
            result = OPERATIONS[operator](value, operand)
            steps.append(f"{value}{operator}{operand}={result}")
            value = result
        return tuple(steps)

    @property
    def answer(self) -> str:
        """The last digit of the value, as text."""
        return self.steps[-1][-1]

    @property
    def split(self) -> str:
        """The split that owns this expression."""
        return split_of(self.question)


def draw(rng: random.Random) -> Problem:
    """One problem of any split; its number of operations is uniform."""
    count = rng.randint(MIN_OPERATIONS, MAX_OPERATIONS)
    operands = tuple(rng.randint(SMALLEST_OPERAND, LARGEST_OPERAND) for _ in range(count + 1))
    return Problem(operands, tuple(rng.choice(tuple(OPERATIONS)) for _ in range(count)))


def generate(split: str, count: int, seed: int) -> list[Problem]:
    """``count`` different problems of one split, the same for the same arguments.

    Raises:
        ValueError: unknown split, or a negative count.
    """
    return draw_distinct(draw, split, count, seed)


def draw_distinct(
    draw_one: Callable[[random.Random], AnyProblem], split: str, count: int, seed: int
) -> list[AnyProblem]:
    """``count`` different problems of one split of any task, the same for the same arguments.

    Args:
        draw_one: one problem of any split.

    Raises:
        ValueError: unknown split, a negative count, or a task that has too few problems.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown: use one of {', '.join(SPLITS)}")
    if count < 0:
        raise ValueError(f"count={count} is negative: give the number of problems to draw")
    rng = random.Random(f"{split}-{seed}")
    found: dict[AnyProblem, None] = {}
    in_vain = 0
    while len(found) < count:
        problem, known = draw_one(rng), len(found)
        if problem.split == split:
            found[problem] = None
        in_vain = 0 if len(found) > known else in_vain + 1
        if in_vain == MOST_DRAWS_IN_VAIN:
            raise ValueError(
                f"count={count}: {in_vain} draws gave no problem of split {split!r} beside the {len(found)} there are; "
                "ask for fewer, or for a larger task"
            )
    return list(found)
