"""A directed graph stands in the prompt; which of C listed nodes is reached from the start in exactly T edges?

    s0 s4 s0 s7 s1 s2 ...   s3 s9 s0 s14   s5        n * d edges (from, to) in random order, listed nodes, the start

Every node has d successors. The first thought holds the start's successors, each further one the successors of the
nodes before it: breadth-first search, one step a position. (Zhu et al., *Reasoning by Superposition*, arXiv
2505.12514, prove that two layers suffice for it with mixtures.) Here sets grow and paths merge, and nothing about the
graph can be learnt by heart: unlike in ``permutation_words`` the steps are read from the prompt.
"""

import random
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from verl_softthink.pocket.superposition.problem import StateProblem, list_choices, state_words

#: Graphs drawn for one problem before the sizes count as impossible.
MOST_GRAPHS = 10_000


@dataclass(frozen=True)
class GraphReachability:
    """The task at one size.

    Attributes:
        n: nodes.
        degree: d, successors of every node.
        length: T, edges from the start.
        k: nodes that are reached in exactly T edges, at least.
        choices: C, listed nodes.
    """

    n: int = 12
    degree: int = 2
    length: int = 3
    k: int = 4
    choices: int = 4

    name: ClassVar[str] = "graph_reachability"

    def __post_init__(self) -> None:
        for key in ("degree", "length", "k"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)} must be at least 1")
        if self.choices < 2:
            raise ValueError(f"choices={self.choices} leaves nothing to choose: list at least 2 nodes")
        if self.degree >= self.n:
            raise ValueError(f"degree={self.degree} successors need more than n={self.n} nodes: no edge is a loop")
        if self.k > self.degree**self.length:
            raise ValueError(
                f"k={self.k}: {self.length} edges of degree {self.degree} reach at most {self.degree**self.length} "
                "nodes; lower k"
            )
        if self.n < self.k + self.choices - 1:
            raise ValueError(
                f"n={self.n} nodes are too few for k={self.k} that are reached and {self.choices - 1} listed ones "
                f"that are not: set n to at least {self.k + self.choices - 1}"
            )

    @property
    def words(self) -> tuple[str, ...]:
        """The nodes."""
        return self._nodes

    @property
    def prompt_length(self) -> int:
        """Words of every question."""
        return 2 * self.n * self.degree + self.choices + 1

    @property
    def steps(self) -> int:
        """T."""
        return self.length

    @property
    def most_paths(self) -> int:
        """Nodes that T edges can reach while enough others are left to be listed."""
        return min(self.degree**self.length, self.n - self.choices + 1)

    def draw(self, rng: random.Random) -> StateProblem:
        """A uniform graph and start among those that reach at least k nodes and miss at least C - 1.

        Raises:
            ValueError: no such graph was found.
        """
        for _ in range(MOST_GRAPHS):
            successors = [self._successors(node, rng) for node in range(self.n)]
            start = rng.randrange(self.n)
            paths = self._paths(successors, start)
            if self.k <= len(paths) <= self.most_paths:
                return self._problem(successors, start, paths, rng)
        raise ValueError(
            f"none of {MOST_GRAPHS} graphs of n={self.n} and degree={self.degree} reaches {self.k} to "
            f"{self.most_paths} nodes in length={self.length} edges: raise n, or lower k"
        )

    @cached_property
    def _nodes(self) -> tuple[str, ...]:
        return state_words(self.n)

    def _successors(self, node: int, rng: random.Random) -> list[int]:
        return rng.sample([other for other in range(self.n) if other != node], self.degree)

    def _paths(self, successors: list[list[int]], start: int) -> dict[int, list[int]]:
        """One path to each node that is reached in exactly T edges; the first one found, in the nodes' order."""
        paths: dict[int, list[int]] = {start: []}
        for _ in range(self.length):
            longer: dict[int, list[int]] = {}
            for node, path in sorted(paths.items()):
                for successor in successors[node]:
                    longer.setdefault(successor, [*path, successor])
            paths = longer
        return paths

    def _problem(
        self, successors: list[list[int]], start: int, paths: dict[int, list[int]], rng: random.Random
    ) -> StateProblem:
        sets, reached = [], {start}
        for _ in range(self.length):
            reached = {successor for node in reached for successor in successors[node]}
            sets.append(tuple(self._nodes[node] for node in sorted(reached)))
        edges = [(node, successor) for node in range(self.n) for successor in successors[node]]
        rng.shuffle(edges)
        choices, answer = list_choices(self._nodes, sets[-1], self.choices, rng)
        ends = (self._nodes[node] for edge in edges for node in edge)
        return StateProblem(
            question=" ".join((*ends, *choices, self._nodes[start])),
            choices=choices,
            answer=answer,
            sets=tuple(sets),
            paths=tuple(tuple(self._nodes[node] for node in path) for _, path in sorted(paths.items())),
        )
