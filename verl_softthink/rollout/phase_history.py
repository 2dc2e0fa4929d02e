"""What phase control remembers of every generated position, on the device: one row of int32 a position."""

import torch
from torch import Tensor

from verl_softthink.rollout.phase import ANSWERING, THINKING, PhaseState, PhaseStep
from verl_softthink.rollout.switching import SwitchState
from verl_softthink.rollout.to_device import to_device

#: The state after the position, but ``shown`` and ``soft``, which are the position's own, and ``text``, the text
#: marker's state before it. ``reference`` is a float32's bits.
COLUMNS = ("shown", "soft", "phase", "placed", "cold", "answered", "text", "reference", "steps", "switches")
SHOWN, SOFT, PHASE = (COLUMNS.index(name) for name in ("shown", "soft", "phase"))
#: Columns that are read and written where no row switches.
_PLAIN = len(COLUMNS) - 3


class PhaseHistory:
    """Rows [R, T, C] int32, 40 bytes a position.

    Args:
        rows: requests, and one row that belongs to nobody.
        length: positions of each.
        device: where it lives.
    """

    def __init__(self, rows: int, length: int, device: torch.device):
        self._length = length
        self._table = torch.zeros(rows, length, len(COLUMNS), dtype=torch.int32, device=device)
        self._table[..., SHOWN] = -1
        self._table[..., PHASE] = ANSWERING
        self._nobody = rows - 1
        start = {"shown": -1, "phase": THINKING}
        self._start = to_device(torch.tensor([start.get(name, 0) for name in COLUMNS], dtype=torch.int32), device)

    def load(self, slot: int, rows: Tensor) -> None:
        """Take over the rows [P, C] of the first P positions of a request."""
        self._table[slot, : len(rows)] = rows

    def before(self, slots: Tensor, index: Tensor, switching: bool) -> dict[str, Tensor]:
        """The columns of the position before ``index`` [N], as [N] int64; of a new thought before the first."""
        count = len(COLUMNS) if switching else _PLAIN
        first = (index == 0) & (slots != self._nobody)
        before = self._table[slots, (index - 1).clamp(min=0), :count]
        row = torch.where(first[:, None], self._start[:count], before)
        return dict(zip(COLUMNS[:count], row.long().unbind(-1), strict=True))

    def recent(self, slots: Tensor, index: Tensor, count: int) -> Tensor:
        """[N, count] the shown tokens just before ``index``, most recent last; -1 before the first."""
        at = index[:, None] - torch.arange(count, 0, -1, device=index.device)
        return torch.where(at >= 0, self._table[slots[:, None], at.clamp(min=0), SHOWN], -1).long()

    def soft(self, slots: Tensor, index: Tensor) -> Tensor:
        """[R] bool, whether a mixture was fed."""
        return self._table[slots, index, SOFT].bool()

    def write(self, slots: Tensor, index: Tensor, step: PhaseStep, text: Tensor) -> None:
        """Remember a step."""
        after, switching = step.after, step.after.switching
        columns = [step.token, step.soft.long(), after.phase, after.placed, after.cold, after.answered, text]
        if switching is not None:
            columns += [switching.reference.float().view(torch.int32).long(), switching.steps, switching.switches]
        row = torch.stack(columns, dim=-1).int()
        self._table[slots, index.clamp(max=self._length - 1), : len(columns)] = row

    def write_sampled(self, slots: Tensor, index: Tensor, token: Tensor) -> None:
        """Remember the shown token [N] of positions that were left to the sampler."""
        self._table[slots, index.clamp(max=self._length - 1), SHOWN] = token.int()


def phase_state(row: dict[str, Tensor], index: Tensor, completed: Tensor, switching: bool) -> PhaseState:
    """The state machine's view of ``before``."""
    return PhaseState(
        index=index,
        phase=row["phase"],
        placed=row["placed"],
        cold=row["cold"],
        answered=row["answered"],
        completed=completed,
        switching=SwitchState(
            reference=row["reference"].int().view(torch.float32), steps=row["steps"], switches=row["switches"]
        )
        if switching
        else None,
    )
