"""The tree that branching makes of a prompt's responses, and the value and advantage of its nodes.

A branched response is cut at its branch points into nodes, one below the other; every continuation from a point is a
leaf below the node that ends there. With V(node) the mean correctness of the leaves below it and L(node) their number,
arXiv 2509.26628 takes

    A(node) = [(V(node) - V(root)) + (V(node) - V(parent))] / sqrt(L(node))

and nothing normalises it further. V(root) is the mean over all leaves of the prompt, those of responses that were not
branched included; these are not trained on themselves.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Continuation:
    """What was sampled anew from a branch point.

    Attributes:
        cut: tokens of the response that it keeps, at least 1.
        length: tokens sampled, at least 1.
        value: correctness of prefix and continuation together, in [0, 1].
    """

    cut: int
    length: int
    value: float


@dataclass(frozen=True)
class InitialResponse:
    """A response sampled from the prompt alone, and its branches; aborted continuations are left out.

    Attributes:
        length: tokens.
        value: its own correctness, in [0, 1].
        continuations: in any order; several may share a cut. None: it was not branched.
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
        """The response itself first, then its continuations."""
        return (self.value, *(continuation.value for continuation in self.continuations))


@dataclass(frozen=True)
class Node:
    """Tokens that the same leaves share.

    Attributes:
        response: index of the initial response.
        continuation: index among its continuations, None on the response itself.
        start, end: positions in the whole text of prefix and continuation.
        leaves: how many there are below.
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


def root_value(responses: Sequence[InitialResponse]) -> float:
    """Mean value of all leaves of a prompt.

    Raises:
        ValueError: when there are none.
    """
    values = [value for response in responses for value in response.leaf_values]
    if not values:
        raise ValueError("responses is empty: a prompt has a value once it has been answered")
    return sum(values) / len(values)


def nodes(responses: Sequence[InitialResponse]) -> list[Node]:
    """The nodes of all branched responses of a prompt, each before those below it."""
    root = root_value(responses) if responses else 0.0
    return [
        node
        for index, response in enumerate(responses)
        if response.continuations
        for node in _branched(index, response, root)
    ]


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
