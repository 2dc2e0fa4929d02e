"""Training rows of a tree: one per leaf, the whole response with the advantages of the nodes it passes through.

A shared prefix stands in the row of every leaf below it, so it weighs L / sqrt(L) in the sum over rows, as published.
Whether its tokens are also computed once per leaf is the engine's choice (``likelihood/shared_prefix.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.methods.attnrl.tree import InitialResponse, Node, nodes

#: A node and its place in ``tree.nodes``.
Numbered = tuple[int, Node]


@dataclass(frozen=True)
class LeafRow:
    """One leaf's row.

    Attributes:
        response: index of the initial response.
        continuation: index among its continuations, None for the response itself.
        cut: tokens it takes over from the initial response; all of them for the response itself.
        advantages: [T] float32.
        nodes: [T] int64, the place of each token's node in ``tree.nodes`` of the prompt.
        values: [T] float32, its value.
    """

    response: int
    continuation: int | None
    cut: int
    advantages: Tensor
    nodes: Tensor
    values: Tensor


def leaf_rows(responses: Sequence[InitialResponse]) -> list[LeafRow]:
    """The rows of all leaves of a prompt's branched responses; a response that was not branched has none."""
    tree = list(enumerate(nodes(responses)))
    rows = []
    for index, response in enumerate(responses):
        if not response.continuations:
            continue
        trunk = _of(tree, index, None)
        rows.append(_row(index, None, response.length, trunk))
        for number, continuation in enumerate(response.continuations):
            above = [(place, node) for place, node in trunk if node.end <= continuation.cut]
            rows.append(_row(index, number, continuation.cut, above + _of(tree, index, number)))
    return rows


def _of(tree: Sequence[Numbered], response: int, continuation: int | None) -> list[Numbered]:
    return [(place, node) for place, node in tree if (node.response, node.continuation) == (response, continuation)]


def _row(response: int, continuation: int | None, cut: int, path: Sequence[Numbered]) -> LeafRow:
    lengths = torch.tensor([node.end - node.start for _, node in path])

    def of_tokens(numbers: list[float] | list[int]) -> Tensor:
        return torch.repeat_interleave(torch.tensor(numbers), lengths)

    return LeafRow(
        response,
        continuation,
        cut,
        advantages=of_tokens([node.advantage for _, node in path]),
        nodes=of_tokens([place for place, _ in path]),
        values=of_tokens([node.value for _, node in path]),
    )
