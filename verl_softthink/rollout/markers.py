"""Whether the tokens of a row end with its marker, by token ids or by text; on the device."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from verl_softthink.rollout.to_device import to_device

#: Different text markers that one engine may have seen; each keeps (bytes + 1) * V int16 on the device.
MAX_TEXT_MARKERS = 8
#: Number of a row that matches by tokens.
NO_TEXT = -1


class TextMarkers:
    """The automata of an engine's text markers, one after another in one device table.

    Args:
        device: where the table lives.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._numbers: dict[str, int] = {}
        self._host: dict[str, Tensor] = {}
        self._table = torch.zeros(0, 0, dtype=torch.int16, device=device)
        self._first = torch.zeros(0, dtype=torch.int64, device=device)
        self._last = torch.zeros(0, dtype=torch.int64, device=device)

    def __contains__(self, text: str) -> bool:
        return not text or text in self._numbers

    def add(self, text: str, table: Tensor) -> None:
        """Add the automaton of a text, [states, V] on the host.

        Raises:
            RuntimeError: when an engine is asked for more than ``MAX_TEXT_MARKERS``.
        """
        if len(self._numbers) == MAX_TEXT_MARKERS:
            raise RuntimeError(
                f"more than {MAX_TEXT_MARKERS} different texts in softthink.phase.end_of_thinking with match=text in "
                "one engine; use fewer, or match=tokens"
            )
        first = len(self._table)
        self._numbers[text] = len(self._numbers)
        self._host[text] = table
        table = to_device(table, self._device)
        self._table = torch.cat((self._table, table)) if first else table
        self._first = pad(self._first, (0, 1), value=first)
        self._last = pad(self._last, (0, 1), value=len(table) - 1)

    def number(self, text: str) -> int:
        """The number of a text that was added; ``NO_TEXT`` for none."""
        return self._numbers[text] if text else NO_TEXT

    def step(self, number: Tensor, state: Tensor, token: Tensor) -> Tensor:
        """[N] int64 state after a token; tokens below 0 write nothing, rows of ``NO_TEXT`` stay where they are."""
        inert = (number == NO_TEXT) | (token < 0)
        at = self._first[number.clamp(min=0)] + state.clamp(max=len(self._table) - 1)
        after = self._table[at.clamp(max=len(self._table) - 1), token.clamp(min=0)].long()
        return torch.where(inert, state, after)

    def behind(self, text: str, tokens: Tensor) -> int:
        """State of a text that was added, behind tokens [P] of the host."""
        state = 0
        if text:
            for after in self._host[text].index_select(1, tokens).T.tolist():
                state = after[state]
        return state

    def is_complete(self, number: Tensor, state: Tensor) -> Tensor:
        """[N] bool, the text ends with the marker."""
        return (number != NO_TEXT) & (state == self._last[number.clamp(min=0)])


def ends_with(recent: Tensor, marker: Tensor, length: Tensor) -> Tensor:
    """[N] bool: the tokens [N, M] end with right-aligned markers [N, M] of ``length`` [N] > 0."""
    width = marker.shape[1]
    unused = torch.arange(width, device=marker.device) < (width - length)[:, None]
    return (unused | (recent == marker)).all(-1) & (length > 0)
