"""What is kept of every sample: enough to count it, to score it again and to read it."""

from dataclasses import asdict, dataclass

#: ``finish`` of a sample whose prompt is longer than the engine was sized for; it counts as wrong.
PROMPT_TOO_LONG = "prompt_too_long"


@dataclass(frozen=True)
class Response:
    """One response of the engine.

    Attributes:
        text: decoded without special tokens, as the reward of training sees it.
        tokens: generated tokens.
        thinking: those of the chain of thought: drawn by the mode's law.
        finish: vLLM's reason, "stop" or "length", or ``PROMPT_TOO_LONG``.
        end_reason: why thinking ended, as in the trace; "none" if it did not.
        answer_cut: the answer was stopped at ``phase.answer_budget``.
    """

    text: str
    tokens: int
    thinking: int
    finish: str
    end_reason: str
    answer_cut: bool = False


@dataclass(frozen=True)
class Sample:
    """A scored response to one problem.

    Attributes:
        problem: index of the problem in its file.
        sample: number of the response among the problem's.
        correct: whether it gives one of the accepted answers.
    """

    problem: int
    sample: int
    correct: bool
    response: Response

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)
