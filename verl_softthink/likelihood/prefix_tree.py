"""Token sequences with common beginnings, laid out so that every distinct token is computed once.

A causal model's state at a token depends on the tokens before it only, so sequences that begin alike may share the
computation of their beginning. The layout holds the tokens of the first sequence, then of each later one those that
follow its longest beginning already there; attention is restricted to a token's own predecessors.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixTree:
    """B sequences of ``lengths`` tokens, S in all, on N distinct tokens.

    Attributes:
        tokens: [N] int64.
        depth: [N] int64, tokens before each in its sequence.
        owner: [N] int64, the sequence that brought it.
        paths: B tensors [lengths[b]] int64: where the tokens of each sequence stand.
        entries: [E] int64, tokens whose predecessor does not stand right before them, roots left out.
        predecessors: [E] int64, where that predecessor stands.
    """

    tokens: Tensor
    depth: Tensor
    owner: Tensor
    paths: tuple[Tensor, ...]
    entries: Tensor
    predecessors: Tensor

    @classmethod
    def of(cls, sequences: list[Tensor], symbols: list[Tensor] | None = None) -> "PrefixTree":
        """The layout of sequences of token ids [T_b], at least one token each.

        Args:
            symbols: [T_b] int64 each, what must be equal for a token to be shared; None for the token ids.
        """
        symbols = sequences if symbols is None else symbols
        paths: list[Tensor] = []
        parts, depths, owners, entries, predecessors = [], [], [], [], []
        count = 0
        for index, sequence in enumerate(sequences):
            shared, path = _longest_beginning(symbols[index], symbols[:index], paths)
            new = len(sequence) - shared
            own = torch.arange(count, count + new, device=sequence.device)
            if new and shared and int(path[shared - 1]) != count - 1:
                entries.append(count)
                predecessors.append(int(path[shared - 1]))
            paths.append(torch.cat([path[:shared], own]))
            parts.append(sequence[shared:])
            depths.append(torch.arange(shared, len(sequence), device=sequence.device))
            owners.append(torch.full_like(own, index))
            count += new
        as_index = {"dtype": torch.int64, "device": sequences[0].device}
        return cls(
            tokens=torch.cat(parts),
            depth=torch.cat(depths),
            owner=torch.cat(owners),
            paths=tuple(paths),
            entries=torch.tensor(entries, **as_index),
            predecessors=torch.tensor(predecessors, **as_index),
        )

    def membership(self) -> Tensor:
        """[B, N] bool: which tokens each sequence goes through."""
        member = torch.zeros(len(self.paths), len(self.tokens), dtype=torch.bool, device=self.tokens.device)
        for row, path in zip(member, self.paths, strict=True):
            row[path] = True
        return member

    def visible(self) -> Tensor:
        """[N, N] bool: which tokens (columns) each token attends to: itself and those before it in its sequence."""
        return self.membership()[self.owner] & (self.depth[None] <= self.depth[:, None])

    def __len__(self) -> int:
        return len(self.tokens)


def _longest_beginning(sequence: Tensor, earlier: list[Tensor], paths: list[Tensor]) -> tuple[int, Tensor]:
    """How many tokens of ``sequence`` are laid out already, and the path that holds them."""
    best, best_path = 0, sequence.new_empty(0)
    for other, path in zip(earlier, paths, strict=True):
        width = min(len(sequence), len(other))
        differs = (sequence[:width] != other[:width]).nonzero()
        shared = int(differs[0]) if len(differs) else width
        if shared > best:
            best, best_path = shared, path
    return best, best_path
