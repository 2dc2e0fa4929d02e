"""Reasoning steps: where a response is cut into the units that attention, branches and values speak of.

A step ends with the token whose text contains a blank line; if a response has none, a line end; if none, every token
is a step (arXiv 2509.26628). The separator belongs to the step that it ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

#: In the order of preference.
SEPARATORS = ("\n\n", "\n")


@dataclass(frozen=True)
class Steps:
    """The steps of one response of T tokens.

    Attributes:
        lengths: tokens of every step, at least one each.
    """

    lengths: tuple[int, ...]

    @property
    def starts(self) -> tuple[int, ...]:
        """Position in the response at which each step begins."""
        starts, position = [], 0
        for length in self.lengths:
            starts.append(position)
            position += length
        return tuple(starts)

    def of_token(self, position: int) -> int:
        """Index of the step that holds the token at ``position``.

        Raises:
            ValueError: when the response has no such position.
        """
        end = 0
        for step, length in enumerate(self.lengths):
            end += length
            if 0 <= position < end:
                return step
        raise ValueError(f"position {position} is outside the response, which has {sum(self.lengths)} tokens")

    def __len__(self) -> int:
        return len(self.lengths)


def segment(texts: Sequence[str], separators: Sequence[str] = SEPARATORS) -> Steps:
    """Cut a response into steps.

    Args:
        texts: the text of every token, each decoded by itself; the last step needs no separator.
        separators: the first one that a response contains cuts it.

    Returns:
        The steps; none for an empty response.
    """
    for separator in separators:
        ends = [position + 1 for position, text in enumerate(texts) if separator in text]
        if ends:
            if ends[-1] < len(texts):
                ends.append(len(texts))
            return Steps(tuple(end - start for start, end in zip([0, *ends], ends, strict=False)))
    return Steps((1,) * len(texts))
