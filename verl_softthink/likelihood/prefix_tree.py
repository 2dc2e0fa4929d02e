"""Token sequences with common beginnings, laid out so that every distinct token is computed once.

A causal model's state at a token depends on the tokens before it only, so sequences that begin alike may share the
computation of their beginning. The layout holds the tokens of the first sequence, then of each later one those that
follow its longest beginning already there; attention is restricted to a token's own predecessors.

With soft traces rows share a position as far as they drew the same there.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from tensordict import TensorDict
from torch import Tensor
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.likelihood.fields import (
    DRAWN,
    IDS,
    PREDECESSORS,
    SETTINGS,
    SOFT,
    TRACE_FIELDS,
    VALUES,
    ScoringSettings,
)
from verl_softthink.likelihood.positions import DrawnPositions, drawn_positions

_WHERE = "softthink_shared_prefix='dedup'"


@dataclass(frozen=True)
class PrefixTree:
    """B sequences of ``lengths`` tokens, S in all, on N distinct tokens.

    Attributes:
        tokens: [N] int64.
        depth: [N] int64, tokens before each in its sequence.
        owner: [N] int64, the sequence that it was first laid out for.
        paths: B tensors [lengths[b]] int64: the indices of each sequence's tokens.
        entries: [E] int64, tokens that do not directly follow their predecessor, roots left out.
        predecessors: [E] int64, the index of that predecessor.
    """

    tokens: Tensor
    depth: Tensor
    owner: Tensor
    paths: tuple[Tensor, ...]
    entries: Tensor
    predecessors: Tensor

    @classmethod
    def of(cls, sequences: list[Int64[Tensor, " _"]], symbols: list[Int64[Tensor, " _"]] | None = None) -> "PrefixTree":
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

    def membership(self) -> Bool[Tensor, "sequences tokens"]:
        """[B, N] bool: which tokens each sequence goes through."""
        member = torch.zeros(len(self.paths), len(self.tokens), dtype=torch.bool, device=self.tokens.device)
        for row, path in zip(member, self.paths, strict=True):
            row[path] = True
        return member

    def visible(self) -> Bool[Tensor, "tokens tokens"]:
        """[N, N] bool: which tokens (columns) each token attends to: itself and those before it in its sequence."""
        return self.membership()[self.owner] & (self.depth[None] <= self.depth[:, None])

    def __len__(self) -> int:
        return len(self.tokens)


def _longest_beginning(sequence: Tensor, earlier: list[Tensor], paths: list[Tensor]) -> tuple[int, Tensor]:
    """How many tokens of ``sequence`` are laid out already, and the path that has them."""
    best, best_path = 0, sequence.new_empty(0)
    for other, path in zip(earlier, paths, strict=True):
        width = min(len(sequence), len(other))
        differs = (sequence[:width] != other[:width]).nonzero()
        shared = int(differs[0]) if len(differs) else width
        if shared > best:
            best, best_path = shared, path
    return best, best_path


@dataclass(frozen=True)
class RowTraces:
    """The traces of B rows with S tokens in all.

    Attributes:
        symbols: B tensors [T_b] int64: equal where rows have the same token and, if it was drawn, the same draw.
        drawn: the drawn positions of all rows.
    """

    symbols: list[Tensor]
    drawn: DrawnPositions

    @classmethod
    def of(cls, micro_batch: TensorDict) -> "RowTraces | None":
        """The traces of a micro-batch; None for one without traces."""
        if DRAWN not in micro_batch:
            return None
        tokens = micro_batch["input_ids"]
        traces = {name: micro_batch[name] for name in TRACE_FIELDS}
        drawn = drawn_positions(traces, tokens, micro_batch["response_mask"])
        symbols = tokens.values().clone()
        action = drawn.action
        # Floats by their bits: rows share a draw only if it is exactly the same.
        bits = action.values.float().contiguous().view(torch.int32).long()
        draws = torch.cat([drawn.soft[:, None].long(), drawn.shown[:, None], action.ids, bits], dim=-1)
        _, number = draws.unique(dim=0, return_inverse=True)
        symbols[drawn.packed()] = number + symbols.max() + 1
        return cls(list(symbols.split(tokens.offsets().diff().tolist())), drawn)

    def of_tree(self, tree: PrefixTree) -> dict[str, Tensor]:
        """Trace fields of the one row of N distinct tokens, whose prompt is its first token.

        With ``response_mask`` and ``PREDECESSORS``: the logits that score a draw are not always those right before it.
        """
        count, device = len(tree), tree.tokens.device
        at = torch.cat(tree.paths)[self.drawn.packed()]
        action = self.drawn.action
        width = action.ids.shape[1]

        def field(values: Tensor, empty: Tensor) -> Tensor:
            return jagged(empty.index_copy(0, at, values)[1:])

        before = torch.arange(-1, count - 1, device=device).index_copy(0, tree.entries, tree.predecessors)
        never = torch.zeros(count, dtype=torch.bool, device=device)
        return {
            SOFT: field(self.drawn.soft, never),
            DRAWN: field(torch.ones_like(self.drawn.soft), never),
            IDS: field(action.ids.int(), torch.full((count, width), NO_CANDIDATE, dtype=torch.int32, device=device)),
            VALUES: field(action.values, torch.zeros(count, width, device=device)),
            PREDECESSORS: jagged(before),
            "response_mask": jagged(torch.ones(count - 1, dtype=torch.int64, device=device)),
        }


def jagged(values: Tensor) -> Tensor:
    """A jagged tensor of one row."""
    offsets = torch.tensor([0, len(values)], device=values.device)
    return torch.nested.nested_tensor_from_jagged(values, offsets)


def drawn_entries(tree: PrefixTree, distinct: TensorDict) -> Bool[Tensor, " entries"]:
    """[E] bool: of the tokens at which branches begin, those that a law drew."""
    if DRAWN not in distinct:
        return torch.zeros_like(tree.entries, dtype=torch.bool)
    # An entry is never the first token of the row, which the trace leaves out.
    return distinct[DRAWN].values()[tree.entries - 1]


def check_traces(micro_batch: TensorDict) -> None:
    """Refuse settings under which draws cannot be shared.

    Raises:
        ValueError: naming the setting, its value and the fix.
    """
    values = get_non_tensor_data(micro_batch, SETTINGS, default=None)
    if values is None:
        return
    settings = ScoringSettings.parse(values)
    if settings.law.draws_embedding:
        raise ValueError(
            f"{_WHERE} with softthink.law.name={settings.law.name!r}: drawn embeddings are not shared; use another "
            "law, or 'repeat'"
        )
    if settings.positions_at_once is not None:
        raise ValueError(
            f"{_WHERE} with softthink.likelihood.positions_at_once={settings.positions_at_once}: branches are scored "
            "on all logits; set it to null, or use 'repeat'"
        )
