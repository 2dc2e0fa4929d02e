"""The drawn positions of a micro-batch, flattened from jagged trace fields into one list."""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.laws import Action
from verl_softthink.likelihood.fields import DRAWN, FED, IDS, SCALE, SEED, SOFT, VALUES


@dataclass(frozen=True)
class DrawnPositions:
    """N drawn positions of B sequences (prompt and response).

    Attributes:
        row: [N] int64, the sequence.
        column: [N] int64, the position in its sequence at which the drawn token stands, at least 1.
        soft: [N] bool, the mixture was fed there.
        shown: [N] int64, the token that the text shows there.
        index: [N] int64, the position in the response.
        action: [N, K] what was drawn; ids are int64.
        starts: [B] int64, where each sequence starts in the packed batch.
        seed: [N] int64, seed of the request's noise, where the trace has it.
    """

    row: Tensor
    column: Tensor
    soft: Tensor
    shown: Tensor
    index: Tensor
    action: Action
    starts: Tensor
    seed: Tensor | None = None

    def __getitem__(self, index: Tensor) -> "DrawnPositions":
        """The positions of that index; the sequences stay."""
        return DrawnPositions(
            row=self.row[index],
            column=self.column[index],
            soft=self.soft[index],
            shown=self.shown[index],
            index=self.index[index],
            action=self.action[index],
            seed=None if self.seed is None else self.seed[index],
            starts=self.starts,
        )

    def __len__(self) -> int:
        return len(self.row)

    def packed(self) -> Tensor:
        """[N] indices into the packed batch: all sequences one after another, without padding."""
        return self.starts[self.row] + self.column

    def padded(self, width: int) -> Tensor:
        """[N] indices into the flattened padded batch, whose rows have ``width`` columns."""
        return self.row * width + self.column


def drawn_positions(trace: dict[str, Tensor], input_ids: Tensor, response_mask: Tensor) -> DrawnPositions:
    """Flatten the trace of a micro-batch.

    A row whose response mask is all zero trains nothing, and its trace is ignored: verl's synthetic padding rows
    copy the trace of another sample, of another length.

    Args:
        trace: the trace fields, jagged: [B, T] bool, [B, T] bool, [B, T, K] int32 and [B, T, K] float32, and for
            drawn embeddings [B, T] float32 with [B, T, H] float32 or [B, T] int64.
        input_ids: [B, S] jagged int64, prompt and response.
        response_mask: [B, T] jagged, non-zero where the response is trained.

    Raises:
        ValueError: when a field is not jagged, or when the trace does not fit the response.
    """
    for name, field in {**trace, "input_ids": input_ids, "response_mask": response_mask}.items():
        _require_jagged(name, field)
    trained = _row_sums(response_mask) > 0
    prompt_lengths = _lengths(input_ids) - _lengths(response_mask)
    for name in trace:
        _require_fit(name, trace[name], response_mask, trained)
        if not torch.equal(trace[name].offsets(), trace[DRAWN].offsets()):
            raise ValueError(f"{name} and {DRAWN} differ in the length of some row: cut all trace fields to one length")
    if (trained & (prompt_lengths < 1)).any():
        row = int((trained & (prompt_lengths < 1)).nonzero()[0])
        raise ValueError(f"row {row} has an empty prompt, and nothing precedes its first token: give it a prompt")

    offsets = trace[DRAWN].offsets().long()
    drawn, soft = trace[DRAWN].values().bool(), trace[SOFT].values().bool()
    sequence = torch.repeat_interleave(torch.arange(len(trained), device=drawn.device), offsets.diff())
    if (soft & ~drawn & trained[sequence]).any():
        row = int(sequence[(soft & ~drawn & trained[sequence]).nonzero()[0]])
        raise ValueError(f"row {row} has soft positions that were not drawn: set {DRAWN} wherever {SOFT} is set")
    index = (drawn & trained[sequence]).nonzero()[:, 0]
    row = sequence[index]
    column = prompt_lengths[row] + index - offsets[row]
    starts = input_ids.offsets().long()[:-1]
    positions = DrawnPositions(
        row=row,
        column=column,
        soft=soft[index],
        shown=input_ids.values()[starts[row] + column],
        index=index - offsets[row],
        action=Action(
            ids=trace[IDS].values()[index].long(),
            values=trace[VALUES].values()[index].float(),
            fed=_optional(trace, FED, index),
            scale=_optional(trace, SCALE, index),
        ),
        starts=starts,
        seed=_optional(trace, SEED, index),
    )
    _require_candidates(positions, prompt_lengths)
    return positions


def _optional(trace: dict[str, Tensor], name: str, index: Tensor) -> Tensor | None:
    return trace[name].values()[index] if name in trace else None


def _lengths(field: Tensor) -> Tensor:
    return field.offsets().diff().long()


def _row_sums(field: Tensor) -> Tensor:
    sums = torch.nn.functional.pad((field.values() != 0).long().cumsum(0), (1, 0))
    return sums[field.offsets().long()].diff()


def _require_jagged(name: str, field: Tensor) -> None:
    if not (field.is_nested and field.layout == torch.jagged):
        raise ValueError(
            f"{name} is a {field.layout} tensor of shape {list(field.shape)}; give it one row per sample as a jagged "
            "nested tensor, as verl's v1 trainer does (trainer.use_v1=True)"
        )


def _require_fit(name: str, field: Tensor, response_mask: Tensor, trained: Tensor) -> None:
    misfit = trained & (_lengths(field) != _lengths(response_mask))
    if misfit.any():
        row = int(misfit.nonzero()[0])
        raise ValueError(
            f"{name} has {int(_lengths(field)[row])} positions for row {row}, whose response has "
            f"{int(_lengths(response_mask)[row])}; hand the trace over with its own response, cut to its length"
        )


def _require_candidates(positions: DrawnPositions, prompt_lengths: Tensor) -> None:
    """Each drawn position shows one of its candidates: otherwise trace and text are out of step."""
    stray = (positions.action.ids != positions.shown[:, None]).all(-1)
    if stray.any():
        first = int(stray.nonzero()[0])
        row, column = int(positions.row[first]), int(positions.column[first])
        raise ValueError(
            f"row {row} shows token {int(positions.shown[first])} at response position "
            f"{column - int(prompt_lengths[row])}, which is none of the trace's candidates "
            f"{positions.action.ids[first].tolist()}; the trace is not that of this response"
        )
