"""``thinking.EndOfThinking`` on the device: is a row's marker complete, and how much of it has begun?

By text it does not matter where tokens begin or end. A Knuth-Morris-Pratt automaton over the marker's bytes is run
through every token of the vocabulary beforehand:

    table[s, token] = longest prefix of the marker that ends the text, given that s bytes of it did before the token

so that a step on the device is one lookup. State len(marker) is never left: the text holds the marker exactly in this
state, also where a token writes on behind it (``</think>\\n\\n``).

``thinking.token_writer`` says what a token writes; ``check_text_marker`` refuses a marker that its own tokens do not
spell. The text begins with the first generated token.
"""

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Bool, Int16, Int64
from torch import Tensor
from torch.nn.functional import pad

from verl_softthink.rollout.to_device import to_device

#: Different text markers of the requests alive; each keeps (bytes + 1) * V int16 on the device.
MAX_TEXT_MARKERS = 8
#: Number of a row that matches by tokens.
NO_TEXT = -1


def ends_with(
    recent: Int64[Tensor, "rows width"], marker: Int64[Tensor, "rows width"], length: Int64[Tensor, " rows"]
) -> Bool[Tensor, " rows"]:
    """[N] bool: the tokens [N, M] end with right-aligned markers [N, M] of ``length`` [N] > 0."""
    width = marker.shape[1]
    unused = torch.arange(width, device=marker.device) < (width - length)[:, None]
    return (unused | (recent == marker)).all(-1) & (length > 0)


def begun_tokens(
    recent: Int64[Tensor, "rows width"], marker: Int64[Tensor, "rows width"], length: Int64[Tensor, " rows"]
) -> Int64[Tensor, " rows"]:
    """[N] int64: how many tokens of right-aligned markers [N, M] the tokens [N, M] end with, less than all of them."""
    width = marker.shape[1]
    column = torch.arange(width, device=marker.device)
    first = marker.gather(1, (width - length[:, None] + column).clamp(max=width - 1))
    # Window w holds the last tokens from column w on, of which there are width - w: w = 0 would be the whole marker.
    windows = pad(recent, (0, width), value=-1).unfold(1, width, 1)[:, 1:]
    count = torch.arange(width - 1, -1, -1, device=marker.device)
    equal = ((windows == first[:, None]) | (column >= count[:, None])).all(-1)
    return torch.where(equal & (count < length[:, None]), count, 0).amax(-1)


class TextMarkers:
    """The automata of an engine's text markers, one after another in one device table.

    A text is kept when its last request has ended, until another one needs the room: building takes seconds.

    Args:
        device: where the table lives.
    """

    def __init__(self, device: torch.device):
        self._device = device
        #: By text, in the order of use.
        self._numbers: dict[str, int] = {}
        self._host: dict[str, Tensor] = {}
        self._tables: dict[int, Tensor] = {}
        self._arrange()

    def __contains__(self, text: str) -> bool:
        return not text or text in self._numbers

    def make_room(self, used: Collection[str]) -> None:
        """Forget the text that was added first of those that no request uses, if there is no room for another.

        Args:
            used: texts of the requests alive.

        Raises:
            RuntimeError: when all ``MAX_TEXT_MARKERS`` are used.
        """
        if len(self._numbers) < MAX_TEXT_MARKERS:
            return
        unused = next((text for text in self._numbers if text not in used), None)
        if unused is None:
            raise RuntimeError(
                f"softthink.phase.end_of_thinking with match=text: the requests alive have {MAX_TEXT_MARKERS} texts, "
                "as many as the engine holds; send the request again when one of them has ended, or use match=tokens"
            )
        del self._tables[self._numbers.pop(unused)], self._host[unused]

    def add(self, text: str, table: Int16[Tensor, "states vocabulary"]) -> None:
        """Add the automaton of a text, [states, V] on the host, for which there is room."""
        number = min(set(range(MAX_TEXT_MARKERS)) - self._tables.keys())
        self._numbers[text] = number
        self._host[text] = table
        self._tables[number] = to_device(table, self._device)
        self._arrange()

    def _arrange(self) -> None:
        """Lay the automata out one after another; a number that is free has an empty one."""
        lengths = [len(self._tables.get(number, ())) for number in range(MAX_TEXT_MARKERS)]
        self._table = torch.cat([self._tables[number] for number in sorted(self._tables)]) if self._tables else None
        first = torch.tensor([0, *lengths[:-1]]).cumsum(0)
        self._first, self._last = to_device(torch.stack((first, torch.tensor(lengths) - 1)), self._device).unbind()

    def number(self, text: str) -> int:
        """The number of a text that was added; ``NO_TEXT`` for none."""
        return self._numbers[text] if text else NO_TEXT

    def step(
        self, number: Int64[Tensor, " rows"], state: Int64[Tensor, " rows"], token: Int64[Tensor, " rows"]
    ) -> Int64[Tensor, " rows"]:
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

    def is_complete(self, number: Int64[Tensor, " rows"], state: Int64[Tensor, " rows"]) -> Bool[Tensor, " rows"]:
        """[N] bool, the text holds the marker."""
        return (number != NO_TEXT) & (state == self._last[number.clamp(min=0)])


def text_marker_table(marker: bytes, texts: list[bytes]) -> Int16[Tensor, "states vocabulary"]:
    """[len(marker) + 1, V] int16: the automaton's state after each token, from each state before it."""
    steps = _byte_steps(marker)
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(-lengths, kind="stable")
    longest = int(lengths.max(initial=0))
    table = np.repeat(np.arange(len(marker) + 1, dtype=np.int16)[:, None], len(texts), axis=1)
    for position in range(longest):
        reach = order[: int((lengths > position).sum())]
        written = np.array([texts[token][position] for token in reach], dtype=np.uint8)
        table[:, reach] = steps[table[:, reach], written[None]]
    return torch.from_numpy(table)


def _byte_steps(marker: bytes) -> np.ndarray:
    """[len(marker) + 1, 256] int16: the automaton's state after one byte."""
    steps = np.zeros((len(marker) + 1, 256), np.int16)
    steps[0, marker[0]] = 1
    steps[len(marker)] = len(marker)
    # ``fallback`` is the state of the marker's text without its first byte.
    fallback = 0
    for state in range(1, len(marker)):
        steps[state] = steps[fallback]
        steps[state, marker[state]] = state + 1
        fallback = int(steps[fallback, marker[state]])
    return steps
