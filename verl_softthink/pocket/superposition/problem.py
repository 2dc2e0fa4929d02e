"""One problem over sets of states, whatever the task, and what a single path can know about its answer."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from verl_softthink.pocket.tasks import split_of


@dataclass(frozen=True)
class StateProblem:
    """A problem of T steps.

    Attributes:
        question: the whole user message, words between blanks.
        choices: the C listed states, of which one is in the last set.
        answer: that state.
        sets: [T] the states after each step, sorted as the task sorts them.
        paths: [|last set|] one path to each state of the last set, each [T] states.
    """

    question: str
    choices: tuple[str, ...]
    answer: str
    sets: tuple[tuple[str, ...], ...]
    paths: tuple[tuple[str, ...], ...]

    @property
    def split(self) -> str:
        """The split that owns this question."""
        return split_of(self.question)

    @property
    def steps(self) -> tuple[str, ...]:
        """The working: each set in words."""
        return tuple(" ".join(states) for states in self.sets)

    @property
    def path(self) -> tuple[str, ...]:
        """[T] the path that ends in the answer."""
        return next(path for path in self.paths if path[-1] == self.answer)

    @property
    def blind_path(self) -> tuple[str, ...]:
        """[T] one path, the same for every draw of this question, chosen without regard to the listed states."""
        return random.Random(self.question).choice(self.paths)

    @property
    def blind_path_accuracy(self) -> float:
        """Accuracy of the best answer after one path that was chosen without regard to the listed states.

        The answer is a uniform draw from the last set F, independent of the path, which therefore ends in it with
        probability 1 / |F|. If it does not, all C listed states are equally likely: 1 / |F| + (1 - 1 / |F|) / C.
        """
        hit = 1 / len(self.sets[-1])
        return hit + (1 - hit) / len(self.choices)


class StateTask(Protocol):
    """A family of problems.

    Attributes:
        name: part of the data source, ``pocket/<name>``.
        words: the vocabulary of questions, thoughts and answers.
        prompt_length: words of the longest question.
        steps: T.
        most_paths: of a problem.
    """

    name: ClassVar[str]

    @property
    def words(self) -> tuple[str, ...]: ...

    @property
    def prompt_length(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def most_paths(self) -> int: ...

    def draw(self, rng: random.Random) -> StateProblem:
        """One problem of any split."""


def list_choices(
    states: Sequence[str], last: Iterable[str], choices: int, rng: random.Random
) -> tuple[tuple[str, ...], str]:
    """The listed states in random order, and the one of them that is in the last set.

    Args:
        states: all states.
        last: the last set.
        choices: C; the C - 1 others are drawn from outside of the last set.
    """
    inside = set(last)
    answer = rng.choice([state for state in states if state in inside])
    others = rng.sample([state for state in states if state not in inside], choices - 1)
    listed = [answer, *others]
    rng.shuffle(listed)
    return tuple(listed), answer


def state_words(count: int) -> tuple[str, ...]:
    """The names of ``count`` states: s0, s1 ..."""
    return tuple(f"s{number}" for number in range(count))
