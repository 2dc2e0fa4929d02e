"""Soft traces of rows that begin alike: which positions they share, and the trace of the row of distinct tokens."""

from dataclasses import dataclass

import torch
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
from verl_softthink.likelihood.prefix_tree import PrefixTree

_WHERE = "softthink_shared_prefix='dedup'"


@dataclass(frozen=True)
class RowTraces:
    """The traces of B rows with S tokens in all.

    Attributes:
        symbols: of every row [T_b] int64: equal where rows have the same token and, if it was drawn, the same draw.
        drawn: the drawn positions of all rows.
    """

    symbols: list[Tensor]
    drawn: DrawnPositions

    @classmethod
    def of(cls, micro_batch: TensorDict) -> "RowTraces | None":
        """Of a micro-batch; None for one without traces."""
        if DRAWN not in micro_batch:
            return None
        tokens = micro_batch["input_ids"]
        traces = {name: micro_batch[name] for name in TRACE_FIELDS}
        drawn = drawn_positions(traces, tokens, micro_batch["response_mask"])
        symbols = tokens.values().clone()
        action = drawn.action
        # Floats by their bits: what was fed is the same or it is not.
        bits = action.values.float().contiguous().view(torch.int32).long()
        draws = torch.cat([drawn.soft[:, None].long(), drawn.shown[:, None], action.ids, bits], dim=-1)
        _, number = draws.unique(dim=0, return_inverse=True)
        symbols[drawn.packed()] = number + symbols.max() + 1
        return cls(list(symbols.split(tokens.offsets().diff().tolist())), drawn)

    def of_tree(self, tree: PrefixTree) -> dict[str, Tensor]:
        """Trace fields of the one row of N distinct tokens, whose prompt is its first token.

        Beside them ``response_mask`` and ``PREDECESSORS``: what scores a draw is not always what stands before it.
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


def drawn_entries(tree: PrefixTree, distinct: TensorDict) -> Tensor:
    """[E] bool: of the tokens at which branches begin, those that a law drew."""
    if DRAWN not in distinct:
        return torch.zeros_like(tree.entries, dtype=torch.bool)
    # An entry is never the first token of the row, which the trace leaves out.
    return distinct[DRAWN].values()[tree.entries - 1]


def check_traces(micro_batch: TensorDict) -> None:
    """Refuse traces that cannot be shared.

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
