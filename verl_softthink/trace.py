"""The soft trace: what a rollout hands to training, one record per response position.

Three kinds of position, told apart by explicit flags and never by a sentinel token id:

| drawn | soft | what was fed              | what is scored                                                    |
|-------|------|---------------------------|-------------------------------------------------------------------|
| yes   | yes  | the law's mixture         | ``law.log_prob`` of the action                                    |
| yes   | no   | the shown token           | ``law.token_log_prob``: its draw completed the end-of-thinking marker |
| no    | no   | the token                 | the ordinary log-probability, or nothing where the token was forced |

Inside the engine a position is one row of int32 (floats keep their bits), so that a trace crosses process borders
as one contiguous array: ``[flags, log_prob, entropy, scale, ids * K, values * K, fed * H]``. K stands in the flags; H
is 0 unless the law's draw is an embedding and the trace carries it.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from verl_softthink.laws.action import NO_CANDIDATE

FLAG_DRAWN, FLAG_SOFT, FLAG_FORCED, FLAG_DISCRETE, FLAG_CUT = 1, 2, 4, 1 << 8, 1 << 9
#: Why thinking ended, kept in the flags of the position that ended it (bits 3 to 6).
END_REASONS = ("none", "marker", "budget", "cold_stop", "switches", "bad_logits", "bad_draw", "not_fed")
#: Those of a response that failed: what went wrong at the position.
FAILURES = {
    "bad_logits": "the logits are not numbers (nan, inf, or all -inf), so the weights have diverged; look at "
    "actor/grad_norm of the last steps and resume from a checkpoint before them",
    "bad_draw": "the mixture drawn before it, or its own log-density, is not finite in float32: softthink.law or "
    "softthink.filter.temperature is too extreme for this model's logits and embeddings",
    "not_fed": "the model did not look the whole batch up in its input embedding, so the mixture drawn before it was "
    "not fed: this architecture, or this kind of input, takes no soft tokens; send it requests without softthink",
}
_REASON_SHIFT = 3
_REASON_MASK = 15
#: The failures among packed reasons.
_FAILURES = {number: reason for number, reason in enumerate(END_REASONS) if reason in FAILURES}
_IS_FAILURE = np.isin(np.arange(_REASON_MASK + 1), [*_FAILURES])
#: Number of candidate slots, in bits 16 to 23.
_SLOTS_SHIFT = 16
_HEADER_COLUMNS = 4


@dataclass(frozen=True)
class SoftTrace:
    """The trace of one response of T positions with at most K candidates each.

    Attributes:
        soft: [T] bool, the mixture was fed.
        drawn: [T] bool, the law drew an action here (every soft position, and the one that ended thinking).
        forced: [T] bool, phase control set the token; nothing was sampled.
        discrete: [T] bool, an ordinary token of thinking (switching).
        ids: [T, K] int32 candidate ids, ``NO_CANDIDATE`` in unused slots.
        values: [T, K] float32, the action's values.
        log_prob: [T] float32, the rollout's own log-density; 0 where nothing was drawn.
        entropy: [T] float32, entropy in nats of the tempered, unfiltered next-token distribution; nan if not asked for.
        end_reason: why thinking ended, one of ``END_REASONS``.
        cut: the answer went over its budget and was stopped.
        scale: [T] float32, standard deviation of the noise on each coordinate of a drawn embedding, or in those of a
            drawn candidate; 0 elsewhere. None if dropped.
        fed: [T, H] float32, the drawn embeddings; None where the trace does not carry them.
        seed: [T] int64, noise seed of the request that drew each position; None where nothing is rebuilt from it.
        version: [T] int64, training step of the weights that drew each position; None where one policy drew them all.
    """

    soft: Tensor
    drawn: Tensor
    forced: Tensor
    discrete: Tensor
    ids: Tensor
    values: Tensor
    log_prob: Tensor
    entropy: Tensor
    end_reason: str
    cut: bool = False
    scale: Tensor | None = None
    fed: Tensor | None = None
    seed: Tensor | None = None
    version: Tensor | None = None

    def __len__(self) -> int:
        return self.soft.shape[0]

    @classmethod
    def of_tokens(cls, log_prob: Tensor) -> "SoftTrace":
        """The trace of a response of ordinary tokens with log-probabilities [T]: nothing drawn, one empty slot."""
        # A separate tensor each: safetensors refuses to write shared memory.
        soft, drawn, forced, discrete = (torch.zeros(len(log_prob), dtype=torch.bool) for _ in range(4))
        return cls(
            soft=soft,
            drawn=drawn,
            forced=forced,
            discrete=discrete,
            ids=torch.full((len(log_prob), 1), NO_CANDIDATE, dtype=torch.int32),
            values=torch.zeros(len(log_prob), 1),
            log_prob=log_prob.float(),
            entropy=torch.full((len(log_prob),), torch.nan),
            end_reason="none",
        )

    def truncated(self, length: int) -> "SoftTrace":
        """The first ``length`` positions; without the end reason where thinking ends after them."""
        tensors = {name: value[:length] for name, value in self.tensors().items()}
        kept = replace(self, **tensors, cut=self.cut and length >= len(self))
        return kept if kept.end_of_thinking is not None else replace(kept, end_reason="none")

    def joined(self, later: "SoftTrace") -> "SoftTrace":
        """This trace followed by that of its continuation.

        Raises:
            ValueError: when one of the two has a field that the other lacks.
        """
        ours, theirs = self.tensors(), later.tensors()
        if ours.keys() != theirs.keys():
            raise ValueError(
                f"traces with different fields cannot be joined ({sorted(ours.keys() ^ theirs.keys())}): they are of "
                "different laws, or one of them has been dumped"
            )
        tensors = {name: torch.cat((value, theirs[name])) for name, value in ours.items()}
        return replace(later, **tensors, end_reason=later.end_reason if self.end_reason == "none" else self.end_reason)

    @property
    def end_of_thinking(self) -> int | None:
        """The first position after thinking, or the draw that completed the marker; None where thinking never ended."""
        ended = (~(self.soft | self.discrete)).nonzero()
        return int(ended[0, 0]) if len(ended) else None

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that the trace has, by field name."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in present.items() if isinstance(value, Tensor)}

    def narrowed(self, width: int) -> "SoftTrace":
        """The first ``width`` candidate slots.

        Raises:
            ValueError: if a dropped slot holds a candidate.
        """
        if (self.ids[:, width:] != NO_CANDIDATE).any():
            raise ValueError(f"the trace has candidates beyond slot {width}; raise softthink.filter.max_topk")
        return replace(self, ids=self.ids[:, :width], values=self.values[:, :width])


def row_width(candidates: int, embedding: int = 0) -> int:
    """Columns of one packed row for K candidates and H coordinates."""
    return _HEADER_COLUMNS + 2 * candidates + embedding


def pack_rows(
    *,
    drawn: Tensor,
    soft: Tensor,
    forced: Tensor,
    discrete: Tensor,
    cut: Tensor,
    reason: Tensor,
    log_prob: Tensor,
    entropy: Tensor,
    scale: Tensor,
    ids: Tensor,
    values: Tensor,
    fed: Tensor | None = None,
) -> Tensor:
    """Pack N positions into int32 rows [N, 4 + 2K + H] on the device they are on."""
    flags = (reason.int() << _REASON_SHIFT) + (ids.shape[1] << _SLOTS_SHIFT)
    for flag, value in (
        (drawn, FLAG_DRAWN),
        (soft, FLAG_SOFT),
        (forced, FLAG_FORCED),
        (discrete, FLAG_DISCRETE),
        (cut, FLAG_CUT),
    ):
        flags.add_(flag, alpha=value)
    numbers = _bits(torch.stack((log_prob, entropy, scale), dim=-1))
    columns = (flags[:, None], numbers, ids.int(), _bits(values))
    return torch.cat(columns if fed is None else (*columns, _bits(fed)), dim=-1)


def _bits(values: Tensor) -> Tensor:
    """Floats as the int32 with the same bits."""
    return values.float().contiguous().view(torch.int32)


def slots_of_rows(rows: np.ndarray) -> np.ndarray:
    """[T] K of each packed row."""
    return rows[:, 0] >> _SLOTS_SHIFT


def embedding_columns(rows: np.ndarray) -> int:
    """H of packed rows; below 0 where they are too narrow for their candidates."""
    return rows.shape[1] - row_width(int(slots_of_rows(rows)[0]))


def are_packed(rows: np.ndarray) -> bool:
    """Whether rows [T, C] of unknown origin can be unpacked: all have room for their candidates, and known reasons."""
    slots, reasons = slots_of_rows(rows), (rows[:, 0] >> _REASON_SHIFT) & _REASON_MASK
    known = (slots == slots[0]).all() and (reasons < len(END_REASONS)).all()
    return bool(known and slots[0] > 0 and embedding_columns(rows) >= 0)


def unpack_rows(rows: np.ndarray, seed: Tensor | None = None) -> SoftTrace:
    """Read the packed rows of one response, [T, 4 + 2K + H] int32, back into a trace; ``seed`` is the trace's."""
    embedding, slots = embedding_columns(rows), int(slots_of_rows(rows)[0])
    # A copy: what arrives through shared memory is read-only.
    packed = torch.from_numpy(np.array(rows, dtype=np.int32))
    flags = packed[:, 0]
    reasons = (flags >> _REASON_SHIFT) & _REASON_MASK
    ended = reasons.nonzero()
    header, ids, values, fed = packed.split((_HEADER_COLUMNS, slots, slots, embedding), dim=1)
    header, values, fed = (part.contiguous().view(torch.float32) for part in (header, values, fed))
    return SoftTrace(
        soft=(flags & FLAG_SOFT).bool(),
        drawn=(flags & FLAG_DRAWN).bool(),
        forced=(flags & FLAG_FORCED).bool(),
        ids=ids.clone(),
        values=values,
        log_prob=header[:, 1].clone(),
        entropy=header[:, 2].clone(),
        scale=header[:, 3].clone(),
        fed=fed if embedding else None,
        seed=seed,
        discrete=(flags & FLAG_DISCRETE).bool(),
        cut=bool((flags & FLAG_CUT).any()),
        end_reason=END_REASONS[int(reasons[ended[0, 0]])] if len(ended) else "none",
    )


def fed_of_row(row: np.ndarray) -> bytes | None:
    """What a packed row [C] says was fed, as bytes: scale, candidates, values, embedding; None for a token."""
    return row[_HEADER_COLUMNS - 1 :].tobytes() if row[0] & FLAG_SOFT else None


def failure_at(rows: np.ndarray) -> tuple[int, str] | None:
    """The position at which a response failed, and its end reason, one of ``FAILURES``; None where it did not."""
    reasons = (rows[:, 0] >> _REASON_SHIFT) & _REASON_MASK
    (found,) = _IS_FAILURE[reasons].nonzero()
    return (int(found[0]), END_REASONS[reasons[found[0]]]) if len(found) else None


def failure_of_row(row: np.ndarray) -> str | None:
    """As ``failure_at`` of one row [C]: a tenth of the time, for every request at every step."""
    return _FAILURES.get((int(row[0]) >> _REASON_SHIFT) & _REASON_MASK)
