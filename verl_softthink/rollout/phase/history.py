"""What phase control remembers of every generated position: one row of int32 a position, on the device.

A request that continues a soft prefix finds the rows that the state machine would have written, read off the prefix's
trace: only the last row's state is read by the next step, beside the tokens that a marker may have begun in and the
flags of soft positions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.config.messages import shown
from verl_softthink.rollout.phase.machine import (
    ANSWERING,
    DISCRETE,
    FORCING,
    PREFIXING,
    THINKING,
    PhaseState,
    PhaseStep,
)
from verl_softthink.rollout.phase.switching import SwitchState
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.to_device import to_device
from verl_softthink.trace import SoftTrace

#: ``shown`` and ``soft`` are the position's own. ``begun`` is how much of the marker the tokens before it have begun,
#: and from the end of thinking on, how much they had begun there; the others are the state after the position.
#: ``reference`` holds a float32's bits.
COLUMNS = ("shown", "soft", "phase", "forced", "cold", "answered", "begun", "reference", "steps", "switches")
SHOWN, SOFT, PHASE = (COLUMNS.index(name) for name in ("shown", "soft", "phase"))
#: Columns that are read and written where no row switches.
_PLAIN = len(COLUMNS) - 3


class PhaseHistory:
    """Rows [R, T, C] int32, 40 bytes a position.

    Args:
        rows: one a request, and a last one for batch rows without a soft request.
        length: positions of each.
        device: where it lives.
    """

    def __init__(self, rows: int, length: int, device: torch.device):
        self._length = length
        #: Position by position, request by request; ``_at`` says where one is.
        self._positions = torch.zeros(rows * length, len(COLUMNS), dtype=torch.int32, device=device)
        self._positions[:, SHOWN] = -1
        self._positions[:, PHASE] = ANSWERING
        self._trash = rows - 1
        start = {"shown": -1, "phase": THINKING}
        self._start = to_device(torch.tensor([start.get(name, 0) for name in COLUMNS], dtype=torch.int32), device)

    def load(self, slot: int, rows: Tensor) -> None:
        """Set the rows [P, C] of the first P positions of a request."""
        first = slot * self._length
        self._positions[first : first + len(rows)] = rows

    def before(self, slots: Tensor, index: Tensor, switching: bool) -> dict[str, Tensor]:
        """The columns of the position before ``index`` [N], as [N] int64; the start of thinking before the first."""
        count = len(COLUMNS) if switching else _PLAIN
        first = (index == 0) & (slots != self._trash)
        before = self._positions.index_select(0, self._at(slots, (index - 1).clamp(min=0)))
        row = torch.where(first[:, None], self._start, before)[:, :count]
        return dict(zip(COLUMNS[:count], row.long().unbind(-1), strict=True))

    def recent(self, slots: Tensor, index: Tensor, count: int) -> Tensor:
        """[N, count] the shown tokens just before ``index``, most recent last; -1 before the first."""
        before = index[:, None] - torch.arange(count, 0, -1, device=index.device)
        tokens = self._column(SHOWN, self._at(slots[:, None], before.clamp(min=0)))
        return torch.where(before >= 0, tokens, -1).long()

    def soft(self, slots: Tensor, index: Tensor) -> Tensor:
        """[R] bool, whether a mixture was fed."""
        return self._column(SOFT, self._at(slots, index)).bool()

    def write(self, slots: Tensor, index: Tensor, step: PhaseStep, begun: Tensor) -> None:
        """Record a step, before which ``begun`` [N] of the marker stood there."""
        after, switching = step.after, step.after.switching
        columns = [step.token, step.soft.long(), after.phase, after.forced, after.cold, after.answered, begun]
        if switching is not None:
            columns += [switching.reference.float().view(torch.int32).long(), switching.steps, switching.switches]
        row = torch.stack(columns, dim=-1).int()
        at = self._at(slots, index.clamp(max=self._length - 1))
        self._positions[:, : len(columns)].index_copy_(0, at, row)

    def write_sampled(self, slots: Tensor, index: Tensor, token: Tensor) -> None:
        """Record the shown token [N] of positions that were left to the sampler."""
        at = self._at(slots, index.clamp(max=self._length - 1))
        self._positions[:, SHOWN].index_copy_(0, at, token.int())

    def _at(self, slots: Tensor, index: Tensor) -> Tensor:
        return slots * self._length + index

    def _column(self, column: int, at: Tensor) -> Tensor:
        """One column of positions ``at`` of any shape."""
        return self._positions.take(at * len(COLUMNS) + column)


def phase_state(row: dict[str, Tensor], index: Tensor, completed: Tensor, switching: bool) -> PhaseState:
    """The columns of ``before`` as the state that the machine advances."""
    return PhaseState(
        index=index,
        phase=row["phase"],
        forced=row["forced"],
        cold=row["cold"],
        answered=row["answered"],
        completed=completed,
        switching=SwitchState(
            reference=row["reference"].int().view(torch.float32), steps=row["steps"], switches=row["switches"]
        )
        if switching
        else None,
    )


@dataclass(frozen=True)
class ResumedPhase:
    """The state after the last position of a prefix; its fields are ``COLUMNS``.

    Attributes:
        phase, forced, cold, answered: as in ``PhaseState``.
        reference: nats, entropy of the first step of the current block.
        steps, switches: as in ``SwitchState``.
    """

    phase: int
    forced: int = 0
    cold: int = 0
    answered: int = 0
    reference: float = 0.0
    steps: int = 0
    switches: int = 0


def resumed_phase(trace: SoftTrace, tokens: list[int], request: SoftRequest, begun: int) -> ResumedPhase:
    """The state of phase control after P positions.

    Args:
        trace: the prefix, with its discrete positions.
        tokens: P shown tokens.
        request: the continuation's settings, under which thinking goes on.
        begun: how much of the marker they have begun where thinking ends, or at the last of them: tokens, or bytes.

    Raises:
        ValueError: when phase control leaves no such trace under these settings.
    """
    end = trace.end_of_thinking
    # An ordinary token of thinking may have completed it, which the next step finds.
    if begun == len(request.lead_ins) and not (end is None and trace.discrete[-1]) and trace.end_reason != "marker":
        raise ValueError(
            f"softthink.prefix holds softthink.phase.end_of_thinking ({request.marker_text or list(request.marker)!r}) "
            "and goes on thinking behind it; continue it with the settings that it was drawn with"
        )
    if end is None:
        return _thinking(trace, request)
    ended = "softthink.prefix: thinking ends at position"
    if trace.end_reason not in ("marker", "budget", "cold_stop", "switches"):
        raise ValueError(f"{ended} {end} for the reason {trace.end_reason!r}, behind which nothing can be continued")
    if (trace.soft | trace.discrete)[end:].any() or trace.drawn[end + 1 :].any():
        raise ValueError(f"{ended} {end}, and goes on behind it; use encode_prefix(trace) on a trace of the engine")
    by_itself = trace.end_reason == "marker"
    listed = list(request.answer_prefix if by_itself else request.lead_ins[begun])
    start = end + int(trace.drawn[end])
    behind = len(tokens) - start
    forced = trace.forced[start:]
    if tokens[start : start + len(listed)] != listed[:behind] or not forced[: len(listed)].all():
        key = "answer_prefix" if by_itself else "lead_in"
        raise ValueError(
            f"{ended} {end} ({trace.end_reason}) and goes on with {shown(tokens[start : start + len(listed)])}, where "
            f"softthink.phase.{key} forces {shown(listed)}; continue it with the settings that it was drawn with"
        )
    if forced[len(listed) :].any():
        raise ValueError(f"{ended} {end}, and its answer holds a token that was forced; cut the trace before it")
    if behind < len(listed):
        return ResumedPhase(PREFIXING if by_itself else FORCING, forced=behind)
    return ResumedPhase(ANSWERING, forced=len(listed), answered=behind - len(listed))


def _thinking(trace: SoftTrace, request: SoftRequest) -> ResumedPhase:
    count = len(trace)
    if not request.switches and trace.discrete.any():
        raise ValueError(
            "softthink.prefix holds ordinary tokens of thinking, which softthink.phase.switches=0 never leaves; "
            "continue it with the switches that it was drawn with"
        )
    if (request.cold_length or request.switches) and trace.entropy.isnan().any():
        raise ValueError(
            f"softthink.prefix has no entropies, which phase.cold_length={request.cold_length} and "
            f"phase.switches={request.switches} go by; draw it with the same settings, or with record_entropy=true"
        )
    warm = (~(trace.entropy < request.cold_entropy)).nonzero()
    changes = (trace.discrete.diff().nonzero() + 1)[:, 0]
    block = int(changes[-1]) if len(changes) else 0
    return ResumedPhase(
        DISCRETE if trace.discrete[-1] else THINKING,
        cold=count - 1 - int(warm[-1, 0]) if len(warm) else count,
        reference=float(trace.entropy[block]),
        steps=count - block,
        switches=len(changes),
    )


def history_rows(trace: SoftTrace, tokens: list[int], state: ResumedPhase, begun: int) -> Tensor:
    """[P, C] int32 rows of ``PhaseHistory``.

    Args:
        begun: how much of the marker is begun before the last token, or where thinking ends.
    """
    last = vars(state) | {"begun": begun}
    last["reference"] = int(torch.tensor(state.reference, dtype=torch.float32).view(torch.int32))
    rows = torch.zeros(len(trace), len(COLUMNS), dtype=torch.int32)
    rows[-1] = torch.tensor([last.get(name, 0) for name in COLUMNS], dtype=torch.int32)
    rows[:, SHOWN] = torch.tensor(tokens, dtype=torch.int32)
    rows[:, SOFT] = trace.soft.int()
    return rows
