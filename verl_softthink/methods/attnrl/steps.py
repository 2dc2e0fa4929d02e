"""The reasoning steps of a response, the units of attention, branching and value, and their columns in a batch.

A step ends with the token whose text contains a blank line; in a response without one, with a line break; without
either, every token is a step (arXiv 2509.26628). The separator belongs to the step that it ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

#: In order of preference.
SEPARATORS = ("\n\n", "\n")


@dataclass(frozen=True)
class Steps:
    """The steps of one response of T tokens.

    Attributes:
        lengths: tokens of every step, at least one each; they sum to T.
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
            ValueError: the response has no such position.
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
    """Split a response into steps.

    Args:
        texts: text of every token, each decoded by itself; the last step needs no separator.
        separators: the first one that occurs in the response ends its steps.

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


@dataclass(frozen=True)
class SteppedSequence:
    """A prompt and the steps of its response in a padded or packed batch of token ids [B, T].

    Attributes:
        row: of the batch; 0 in a packed one.
        start: column of the prompt's first token, after any left padding.
        lengths: tokens of every range: the prompt (range 0), then each step (ranges 1, 2, ...).
    """

    row: int
    start: int
    lengths: tuple[int, ...]

    def __post_init__(self):
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"{self.place}: lengths={self.lengths}: a prompt and every step have at least one token")

    @property
    def end(self) -> int:
        """Column behind the last token."""
        return self.start + sum(self.lengths)

    @property
    def place(self) -> str:
        """Names the sequence in error messages."""
        return f"the sequence at row {self.row}, column {self.start}"
