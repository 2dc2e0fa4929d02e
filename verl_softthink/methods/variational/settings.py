"""Settings of posterior thoughts: the ``softthink.variational`` group."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from verl_softthink.config.base import Settings

QUESTION, HINT, ANSWER = "{question}", "{hint}", "{answer}"
HINT_PROMPT = (
    "Problem:\n{question}\n\nA correct solution, for your eyes only:\n{hint}\n\nThink the problem through from the "
    "start, step by step, as somebody would who has not seen the solution and finds it. Do not refer to it."
)


class HintSettings(Settings):
    """What the posterior is shown, and how.

    Attributes:
        source: ``solution``: ``extra_info.solution`` of the row, a worked solution; ``answer``: its
            ``reward_model.ground_truth``.
        template: the last message of the prompt, with ``{question}`` in place of its own text, and ``{hint}``.
    """

    source: Literal["solution", "answer"] = "solution"
    template: str = HINT_PROMPT

    @field_validator("template")
    @classmethod
    def _has_both(cls, template: str) -> str:
        for placeholder in (QUESTION, HINT):
            if template.count(placeholder) != 1:
                raise ValueError(f"the template must contain {placeholder} exactly once")
        return template


class VariationalSettings(Settings):
    """Posterior thoughts and their weights.

    Attributes:
        model_share: share of each group that is rolled out without the hint (lambda), in [0, 1].
        importance: ``length_normalised`` as published, or ``exact``.
        answer: estimator of pi(Y | x, z).
        resampled_answers: with ``accuracy``, answers sampled from the model after each thought, without the hint; 0
            takes the whole response as the thought.
        answer_template: with ``geometric_mean`` and ``product``, the text of the reference answer after the
            end-of-thinking marker; ``{answer}`` is ``reward_model.ground_truth``.
        posterior_every: every n-th step trains the posterior on the model's own thoughts; 0: never.
    """

    hint: HintSettings = HintSettings()
    model_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    importance: Literal["length_normalised", "exact"] = "length_normalised"
    answer: Literal["accuracy", "geometric_mean", "product"] = "accuracy"
    resampled_answers: Annotated[int, Field(ge=0)] = 0
    answer_template: str = ANSWER
    posterior_every: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.answer != "accuracy" and self.resampled_answers:
            raise ValueError(
                f"answer={self.answer!r} scores the reference answer and samples none; set resampled_answers=0, or "
                "answer=accuracy"
            )
        if self.answer != "accuracy" and ANSWER not in self.answer_template:
            raise ValueError(f"answer_template={self.answer_template!r} must contain {ANSWER}")
        return self

    @property
    def cuts_thoughts(self) -> bool:
        """Whether a thought ends at the end-of-thinking marker, so that another answer can follow it."""
        return self.answer != "accuracy" or self.resampled_answers > 0

    def trains_posterior(self, step: int) -> bool:
        """Whether this step (numbered from 1) updates the posterior instead of the model."""
        return self.posterior_every > 0 and step % self.posterior_every == 0

    def sessions_of_model(self, size: int) -> int:
        """How many of the ``size`` responses to a question are rolled out without the hint."""
        return round(self.model_share * size)
