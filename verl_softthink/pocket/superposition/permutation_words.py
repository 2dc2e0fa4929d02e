"""k start states are carried by a word of T symbols, each a fixed permutation of n states; where does one of them end?

    s3 s9 s0 s14   a c b a a b c a   s5 s20 s7 s11        C listed states, the word, the k start states

The permutations belong to the task and are not in the prompt: the model learns them. A permutation never merges two
states, so a set keeps its k states, and all of them matter until the end. A model that cannot compose T permutations
at once needs a thought for each symbol: one mixture of k states, or k tokens.
"""

import random
from dataclasses import dataclass
from functools import cached_property
from string import ascii_lowercase
from typing import ClassVar

from verl_softthink.pocket.superposition.problem import StateProblem, list_choices, state_words


@dataclass(frozen=True)
class PermutationWords:
    """The task at one size.

    Attributes:
        n: states.
        symbols: of the alphabet, a permutation each.
        length: T, symbols of a word.
        k: start states.
        choices: C, listed states.
        seed: of the permutations, which are the same for every problem.
    """

    n: int = 24
    symbols: int = 3
    length: int = 8
    k: int = 4
    choices: int = 4
    seed: int = 0

    name: ClassVar[str] = "permutation_words"

    def __post_init__(self) -> None:
        for key in ("symbols", "length", "k"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)} must be at least 1")
        if self.symbols > len(ascii_lowercase):
            raise ValueError(f"symbols={self.symbols}: symbols are letters, at most {len(ascii_lowercase)}")
        if self.choices < 2:
            raise ValueError(f"choices={self.choices} leaves nothing to choose: list at least 2 states")
        if self.n < self.k + self.choices - 1:
            raise ValueError(
                f"n={self.n} states are too few for k={self.k} states that are reached and {self.choices - 1} listed "
                f"ones that are not: set n to at least {self.k + self.choices - 1}"
            )

    @property
    def words(self) -> tuple[str, ...]:
        """States and symbols."""
        return (*self._states, *self._alphabet)

    @property
    def prompt_length(self) -> int:
        """Words of every question."""
        return self.choices + self.length + self.k

    @property
    def steps(self) -> int:
        """T."""
        return self.length

    @property
    def most_paths(self) -> int:
        """k: paths never merge."""
        return self.k

    @cached_property
    def permutations(self) -> tuple[tuple[int, ...], ...]:
        """[symbols, n] the state to which each symbol carries each state."""
        rng = random.Random(f"{self.name}-{self.seed}")
        return tuple(tuple(rng.sample(range(self.n), self.n)) for _ in range(self.symbols))

    def draw(self, rng: random.Random) -> StateProblem:
        """A uniform word and a uniform set of start states."""
        word = [rng.randrange(self.symbols) for _ in range(self.length)]
        starts = rng.sample(range(self.n), self.k)
        paths = tuple(self._path(start, word) for start in starts)
        choices, answer = list_choices(self._states, (path[-1] for path in paths), self.choices, rng)
        symbols = (self._alphabet[symbol] for symbol in word)
        return StateProblem(
            question=" ".join((*choices, *symbols, *(self._states[start] for start in starts))),
            choices=choices,
            answer=answer,
            sets=tuple(zip(*paths, strict=True)),
            paths=paths,
        )

    @cached_property
    def _states(self) -> tuple[str, ...]:
        return state_words(self.n)

    @property
    def _alphabet(self) -> str:
        return ascii_lowercase[: self.symbols]

    def _path(self, state: int, word: list[int]) -> tuple[str, ...]:
        path = []
        for symbol in word:
            state = self.permutations[symbol][state]
            path.append(self._states[state])
        return tuple(path)
