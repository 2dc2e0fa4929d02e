"""Where a prompt and the steps of its response stand in a batch of token ids."""

from dataclasses import dataclass

from verl_softthink.methods.attnrl.steps import Steps


@dataclass(frozen=True)
class SteppedSequence:
    """A prompt and its response in a padded or packed batch [B, T].

    Attributes:
        row: of the batch; 0 in a packed one.
        start: column of the prompt's first token, after any padding on the left.
        lengths: tokens of every range: the prompt (range 0), then each step (ranges 1, 2, ...).
    """

    row: int
    start: int
    lengths: tuple[int, ...]

    def __post_init__(self):
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"{self.place}: lengths={self.lengths}: a prompt and every step have at least one token")

    @classmethod
    def of(cls, row: int, start: int, prompt: int, steps: Steps) -> "SteppedSequence":
        """A prompt of ``prompt`` tokens followed by a response of these steps."""
        return cls(row, start, (prompt, *steps.lengths))

    @property
    def end(self) -> int:
        """Column behind the last token."""
        return self.start + sum(self.lengths)

    @property
    def place(self) -> str:
        """For messages."""
        return f"the sequence at row {self.row}, column {self.start}"
