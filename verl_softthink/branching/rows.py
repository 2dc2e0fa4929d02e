"""Training rows of a tree: one per leaf, the whole response with the advantages of the nodes it passes through.

A shared prefix stands in the row of every leaf below it, so it weighs L / sqrt(L) in the sum over rows, as published.
Whether its tokens are also computed once per leaf is the engine's choice (``likelihood/shared_prefix.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.branching.tree import InitialResponse, Node, nodes


@dataclass(frozen=True)
class LeafRow:
    """One leaf's row.

    Attributes:
        response: index of the initial response.
        continuation: index among its continuations, None for the response itself.
        cut: tokens it takes over from the initial response; all of them for the response itself.
        advantages: [T] float32.
    """

    response: int
    continuation: int | None
    cut: int
    advantages: Tensor


def leaf_rows(responses: Sequence[InitialResponse]) -> list[LeafRow]:
    """The rows of all leaves of a prompt's branched responses; a response that was not branched has none."""
    tree = nodes(responses)
    rows = []
    for index, response in enumerate(responses):
        if not response.continuations:
            continue
        trunk = torch.empty(response.length)
        for node in _of(tree, index, None):
            trunk[node.start : node.end] = node.advantage
        rows.append(LeafRow(index, None, response.length, trunk))
        for number, continuation in enumerate(response.continuations):
            (leaf,) = _of(tree, index, number)
            own = torch.full((continuation.length,), leaf.advantage)
            rows.append(LeafRow(index, number, continuation.cut, torch.cat([trunk[: continuation.cut], own])))
    return rows


def _of(tree: Sequence[Node], response: int, continuation: int | None) -> list[Node]:
    return [node for node in tree if node.response == response and node.continuation == continuation]
