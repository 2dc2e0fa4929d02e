"""The soft trace: what a rollout hands to training, one record per response position.

Three kinds of position, told apart by explicit flags and never by a sentinel token id:

| drawn | soft | what was fed              | what is scored                                                    |
|-------|------|---------------------------|-------------------------------------------------------------------|
| yes   | yes  | the law's mixture         | ``law.log_prob`` of the action                                    |
| yes   | no   | the shown token           | ``law.token_log_prob``: its draw completed the end-of-thinking marker |
| no    | no   | the token                 | the ordinary log-probability, or nothing where the token was forced |

Inside the engine a position is one row of int32 (floats keep their bits), so that a trace crosses process borders
as one contiguous array: ``[flags, log_prob, entropy, ids * K, values * K]``.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from verl_softthink.laws.action import NO_CANDIDATE

FLAG_DRAWN, FLAG_SOFT, FLAG_FORCED = 1, 2, 4
#: Why thinking ended, kept in the flags of the position that ended it (bits 3 and 4).
END_REASONS = ("none", "marker", "budget", "cold_stop")
_REASON_SHIFT = 3
_HEADER_COLUMNS = 3


@dataclass(frozen=True)
class SoftTrace:
    """The trace of one response of T positions with at most K candidates each.

    Attributes:
        soft: [T] bool, the mixture was fed.
        drawn: [T] bool, the law drew an action here (every soft position, and the one that ended thinking).
        forced: [T] bool, the token was put there by phase control: nobody sampled it.
        ids: [T, K] int32 candidate ids, ``NO_CANDIDATE`` in unused slots.
        values: [T, K] float32, the action's values.
        log_prob: [T] float32, the rollout's own log-density; 0 where nothing was drawn.
        entropy: [T] float32, entropy in nats of the tempered, unfiltered next-token distribution; nan if not asked for.
        end_reason: why thinking ended, one of ``END_REASONS``.
    """

    soft: Tensor
    drawn: Tensor
    forced: Tensor
    ids: Tensor
    values: Tensor
    log_prob: Tensor
    entropy: Tensor
    end_reason: str

    def __len__(self) -> int:
        return self.soft.shape[0]

    @classmethod
    def of_tokens(cls, log_prob: Tensor) -> "SoftTrace":
        """The trace of a response of ordinary tokens with log-probabilities [T]: nothing drawn, one empty slot."""
        # A tensor of its own each: safetensors refuses to write shared memory.
        soft, drawn, forced = (torch.zeros(len(log_prob), dtype=torch.bool) for _ in range(3))
        return cls(
            soft=soft,
            drawn=drawn,
            forced=forced,
            ids=torch.full((len(log_prob), 1), NO_CANDIDATE, dtype=torch.int32),
            values=torch.zeros(len(log_prob), 1),
            log_prob=log_prob.float(),
            entropy=torch.full((len(log_prob),), torch.nan),
            end_reason="none",
        )

    def truncated(self, length: int) -> "SoftTrace":
        """The first ``length`` positions."""
        tensors = {f.name: getattr(self, f.name)[:length] for f in fields(self) if f.name != "end_reason"}
        return SoftTrace(**tensors, end_reason=self.end_reason)

    def narrowed(self, width: int) -> "SoftTrace":
        """The first ``width`` candidate slots.

        Raises:
            ValueError: if a dropped slot holds a candidate.
        """
        if (self.ids[:, width:] != NO_CANDIDATE).any():
            raise ValueError(f"the trace has candidates beyond slot {width}; raise softthink.filter.max_topk")
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return SoftTrace(**tensors | {"ids": self.ids[:, :width], "values": self.values[:, :width]})


def row_width(candidates: int) -> int:
    """Columns of one packed row for K candidates."""
    return _HEADER_COLUMNS + 2 * candidates


def pack_rows(
    *,
    drawn: Tensor,
    soft: Tensor,
    forced: Tensor,
    reason: Tensor,
    log_prob: Tensor,
    entropy: Tensor,
    ids: Tensor,
    values: Tensor,
) -> Tensor:
    """Pack N positions into int32 rows [N, 3 + 2K] on the device they are on."""
    flags = (
        drawn.int() * FLAG_DRAWN + soft.int() * FLAG_SOFT + forced.int() * FLAG_FORCED + (reason.int() << _REASON_SHIFT)
    )
    header = torch.stack((flags, log_prob.float().view(torch.int32), entropy.float().view(torch.int32)), dim=-1)
    return torch.cat((header, ids.int(), values.float().contiguous().view(torch.int32)), dim=-1)


def unpack_rows(rows: np.ndarray) -> SoftTrace:
    """Read the packed rows of one response, [T, 3 + 2K] int32, back into a trace."""
    # A copy: what arrives through shared memory is read-only.
    packed = torch.from_numpy(np.array(rows, dtype=np.int32))
    candidates = (packed.shape[1] - _HEADER_COLUMNS) // 2
    flags = packed[:, 0]
    reasons = flags >> _REASON_SHIFT
    ended = reasons.nonzero()
    values = packed[:, _HEADER_COLUMNS + candidates :].contiguous().view(torch.float32)
    return SoftTrace(
        soft=(flags & FLAG_SOFT).bool(),
        drawn=(flags & FLAG_DRAWN).bool(),
        forced=(flags & FLAG_FORCED).bool(),
        ids=packed[:, _HEADER_COLUMNS : _HEADER_COLUMNS + candidates].clone(),
        values=values,
        log_prob=packed[:, 1].contiguous().view(torch.float32),
        entropy=packed[:, 2].contiguous().view(torch.float32),
        end_reason=END_REASONS[int(reasons[ended[0, 0]])] if len(ended) else "none",
    )
