"""The end-of-thinking marker in the tokens of a response; the one place that says where it is.

A marker that is given as a text is looked for in what the tokens write, so that it does not matter where one of them
begins or ends: ``</think>\\n\\n`` and `` </think>`` hold it too. Thinking ends with the token that completes it. That
token is not split: what it writes behind the marker is the beginning of the answer, and comes before anything that is
forced there.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from verl_softthink.thinking.vocabulary import token_writer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Longest end-of-thinking marker, in tokens.
MAX_MARKER = 16
#: Bytes of the longest marker that is looked for in the text: the rollout keeps a row of each for the whole vocabulary.
MAX_TEXT_BYTES = 128


def token_ids(tokenizer: "PreTrainedTokenizerBase", value: str | Sequence[int]) -> list[int]:
    """A marker as token ids, given as a text or as ids."""
    return tokenizer.encode(value, add_special_tokens=False) if isinstance(value, str) else list(value)


@dataclass(frozen=True)
class MarkerSpan:
    """The tokens of a response that hold its first end-of-thinking marker.

    Attributes:
        start: tokens before the one in which the marker begins: what was thought.
        end: tokens up to and with the one that completes it; what else that token writes begins the answer.
    """

    start: int
    end: int


class EndOfThinking:
    """Finds where thinking ends in the tokens of a response: at the position where a rollout ends it.

    A marker given as a text is found wherever tokens begin and end, a marker given as ids by these ids alone.

    Args:
        tokenizer: a Hugging Face fast tokenizer.
        marker: text or ids of the end-of-thinking marker.
        match: as ``softthink.phase.match``; ``tokens`` looks for the ids of a text.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        marker: str | Sequence[int],
        match: Literal["text", "tokens"] | None = None,
    ):
        by_text = isinstance(marker, str) and match != "tokens"
        self.marker: bytes | list[int] = marker.encode() if by_text else token_ids(tokenizer, marker)
        self._write = cache(token_writer(tokenizer)) if by_text else None

    def find(self, response: Sequence[int] | Tensor) -> MarkerSpan | None:
        """The first marker in a response [T]; None without one."""
        ids = response.tolist() if isinstance(response, Tensor) else list(response)
        if self._write is None:
            width = len(self.marker)
            starts = range(len(ids) - width + 1)
            start = next((at for at in starts if ids[at : at + width] == self.marker), None)
            return None if start is None else MarkerSpan(start, start + width)
        pieces = [self._write(token) for token in ids]
        at = b"".join(pieces).find(self.marker)
        if at < 0:
            return None
        ends = list(accumulate(map(len, pieces)))
        return MarkerSpan(bisect_right(ends, at), bisect_left(ends, at + len(self.marker)) + 1)

    def begun(self, response: Sequence[int]) -> int:
        """How much of the marker a response ends with: its ids, or bytes of its text; all of it once it holds it."""
        if self.find(response) is not None:
            return len(self.marker)
        ids = list(response)
        return begun_part(ids if self._write is None else b"".join(map(self._write, ids)), self.marker)


def begun_part(written: bytes | list[int], marker: bytes | list[int]) -> int:
    """Length of the longest proper prefix of a marker that ends what was written."""
    longest = min(len(marker) - 1, len(written))
    return next((count for count in range(longest, 0, -1) if written[-count:] == marker[:count]), 0)
