"""The tree that branching makes of a prompt's responses: values and advantages of its nodes, and a row per leaf.

A branched response is cut at its branch points into nodes, each the parent of the next; every continuation from a point
is a leaf below the node that ends there. With V(node) the mean correctness of the leaves below it and L(node) their
number, arXiv 2509.26628 takes

    A(node) = [(V(node) - V(root)) + (V(node) - V(parent))] / sqrt(L(node))

without further normalisation. V(root) is the mean over all leaves of the prompt, including the responses that were not
branched, which are not trained on.

Training takes one row per leaf: the whole response, with the advantages of the nodes on its path. A shared prefix is
part of the row of every leaf below it, so it weighs L / sqrt(L) in the sum over rows, as published; whether its tokens
are also computed once per leaf is the engine's choice (``likelihood/shared_prefix.py``).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Continuation:
    """What was sampled from a branch point.

    Attributes:
        cut: tokens of the initial response that it keeps, at least 1.
        length: tokens sampled, at least 1.
        value: correctness of prefix and continuation together, in [0, 1].
    """

    cut: int
    length: int
    value: float


@dataclass(frozen=True)
class InitialResponse:
    """A response sampled from the prompt alone, and its continuations without the aborted ones.

    Attributes:
        length: tokens.
        value: its own correctness, in [0, 1].
        continuations: in any order; several may share a cut. Empty if the response was not branched.
    """

    length: int
    value: float
    continuations: tuple[Continuation, ...] = ()

    def __post_init__(self):
        for continuation in self.continuations:
            if not 1 <= continuation.cut < self.length:
                raise ValueError(
                    f"a continuation keeps {continuation.cut} of {self.length} tokens: cut behind the first token and "
                    "before the last"
                )
            if continuation.length < 1:
                raise ValueError("a continuation has no tokens: leave out aborted continuations")

    @property
    def leaf_values(self) -> tuple[float, ...]:
        """The response's own value first, then those of its continuations."""
        return (self.value, *(continuation.value for continuation in self.continuations))


@dataclass(frozen=True)
class Node:
    """A stretch of tokens that the same leaves share.

    Attributes:
        response: index of the initial response.
        continuation: index among its continuations; None on the response itself.
        start, end: positions in the whole text of prefix and continuation.
        leaves: number of leaves below.
        value: mean of their values.
        advantage: of every token.
    """

    response: int
    continuation: int | None
    start: int
    end: int
    leaves: int
    value: float
    advantage: float


@dataclass(frozen=True)
class LeafRow:
    """The row of one leaf, of T tokens.

    Attributes:
        response: index of the initial response.
        continuation: index among its continuations; None for the response itself.
        cut: tokens it shares with the initial response; all of them for the response itself.
        advantages: [T] float32.
        nodes: [T] int64, index of each token's node in ``nodes`` of the prompt.
        values: [T] float32, value of each token's node.
    """

    response: int
    continuation: int | None
    cut: int
    advantages: Float[Tensor, " T"]
    nodes: Int[Tensor, " T"]
    values: Float[Tensor, " T"]


def root_value(responses: Sequence[InitialResponse]) -> float:
    """Mean value of all leaves of a prompt.

    Raises:
        ValueError: there are none.
    """
    values = [value for response in responses for value in response.leaf_values]
    if not values:
        raise ValueError("responses is empty: a prompt has a value once it has been answered")
    return sum(values) / len(values)


def has_signal(responses: Sequence[InitialResponse]) -> bool:
    """Whether a prompt's leaves are neither all right nor all wrong, so that an advantage can be non-zero."""
    return 0 < root_value(responses) < 1


def nodes(responses: Sequence[InitialResponse]) -> list[Node]:
    """The nodes of all branched responses of a prompt, parents before children."""
    root = root_value(responses) if responses else 0.0
    return [
        node
        for index, response in enumerate(responses)
        if response.continuations
        for node in _branched(index, response, root)
    ]


def leaf_rows(responses: Sequence[InitialResponse]) -> list[LeafRow]:
    """One row per leaf of a prompt's branched responses; a response that was not branched has none."""
    numbered = list(enumerate(nodes(responses)))
    rows = []
    for index, response in enumerate(responses):
        if not response.continuations:
            continue
        trunk = _nodes_of(numbered, index, None)
        rows.append(_leaf_row(index, None, response.length, trunk))
        for number, continuation in enumerate(response.continuations):
            shared = [(place, node) for place, node in trunk if node.end <= continuation.cut]
            path = shared + _nodes_of(numbered, index, number)
            rows.append(_leaf_row(index, number, continuation.cut, path))
    return rows


def _branched(index: int, response: InitialResponse, root: float) -> Iterator[Node]:
    cuts = sorted({continuation.cut for continuation in response.continuations})
    parent = root
    for start, end in zip([0, *cuts], [*cuts, response.length], strict=True):
        # Below this node: the response itself, and the continuations that keep all of the node's tokens.
        below = [response.value] + [c.value for c in response.continuations if c.cut >= end]
        value = sum(below) / len(below)
        yield Node(index, None, start, end, len(below), value, _advantage(value, root, parent, len(below)))
        for number, continuation in enumerate(response.continuations):
            if continuation.cut == end:
                leaf = continuation.value
                advantage = _advantage(leaf, root, value, 1)
                yield Node(index, number, end, end + continuation.length, 1, leaf, advantage)
        parent = value


def _advantage(value: float, root: float, parent: float, leaves: int) -> float:
    return ((value - root) + (value - parent)) / math.sqrt(leaves)


def _nodes_of(numbered: Sequence[tuple[int, Node]], response: int, continuation: int | None) -> list[tuple[int, Node]]:
    return [(place, node) for place, node in numbered if (node.response, node.continuation) == (response, continuation)]


def _leaf_row(response: int, continuation: int | None, cut: int, path: Sequence[tuple[int, Node]]) -> LeafRow:
    lengths = torch.tensor([node.end - node.start for _, node in path])

    def per_token(numbers: list[float] | list[int]) -> Tensor:
        return torch.repeat_interleave(torch.tensor(numbers), lengths)

    return LeafRow(
        response,
        continuation,
        cut,
        advantages=per_token([node.advantage for _, node in path]),
        nodes=per_token([place for place, _ in path]),
        values=per_token([node.value for _, node in path]),
    )
