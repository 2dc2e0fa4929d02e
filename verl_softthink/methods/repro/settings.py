"""The settings of RePro, as users write them under ``softthink.repro``."""

from typing import Annotated

from pydantic import Field, field_validator

from verl_softthink.config.base import Settings
from verl_softthink.methods.repro.delimiters import DELIMITERS

#: Stands for the right answer in the template.
ANSWER_SLOT = "{answer}"


class ReproSettings(Settings):
    """Process reward from the likelihood of the right answer (arXiv 2512.01925)."""

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
        """What is scored for a ground truth; None where there is none."""
        text = "" if answer is None else str(answer)
        return self.answer.replace(ANSWER_SLOT, text) if text else None
