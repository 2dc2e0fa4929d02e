"""The settings of RePro, as users write them under ``softthink.repro``."""

from typing import Annotated

from pydantic import Field, field_validator

from verl_softthink.config.base import Settings
from verl_softthink.methods.repro.delimiters import DELIMITERS

#: Placeholder of the right answer in the template.
ANSWER_SLOT = "{answer}"


class ReproSettings(Settings):
    """Process rewards from the likelihood of the right answer (arXiv 2512.01925).

    Attributes:
        alpha: weight of the process advantage.
        stability_weight: w, the share of stability in the score, in [0, 1].
        segments: k, the most segments before which the answer is scored.
        average_decay: of the exponential average of J before tau, in [0, 1); None: no average.
        from_prompt: whether the first piece earns its score less that of the bare prompt, instead of the whole score.
        delimiters: a segment ends with the token that completes one of them.
        lead_in: text between prefix and answer, in the context but not scored.
        answer: the scored text, with ``{answer}`` in place of the ground truth.
        backtracking: first words of segments that backtrack; for a metric alone.
    """

    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    stability_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    segments: Annotated[int, Field(ge=1)] = 20
    average_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    from_prompt: bool = False
    delimiters: tuple[str, ...] = DELIMITERS
    lead_in: str = ""
    answer: str = "\\boxed{" + ANSWER_SLOT + "}"
    backtracking: tuple[str, ...] = ("Wait", "But", "However", "Alternatively", "Hmm", "Actually")

    @field_validator("delimiters")
    @classmethod
    def _not_empty(cls, delimiters: tuple[str, ...]) -> tuple[str, ...]:
        if not delimiters or not all(delimiters):
            raise ValueError("give at least one delimiter, and none that is empty")
        return delimiters

    @field_validator("answer")
    @classmethod
    def _has_a_slot(cls, template: str) -> str:
        if template.count(ANSWER_SLOT) != 1:
            raise ValueError(f"the template must contain {ANSWER_SLOT} once, e.g. '\\boxed{{{ANSWER_SLOT}}}'")
        return template

    def answer_text(self, answer: object) -> str | None:
        """The text that is scored for a ground truth; None without one."""
        text = "" if answer is None else str(answer)
        return self.answer.replace(ANSWER_SLOT, text) if text else None
