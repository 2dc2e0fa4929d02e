"""Settings of the offline pipeline; stored in its working directory, which belongs to one set of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from verl_softthink.config.base import PositiveFloat, Settings
from verl_softthink.methods.variational.settings import ANSWER, HintSettings

Count = Annotated[int, Field(ge=1)]


class OfflineSettings(Settings):
    """
    Attributes:
        questions: parquet or JSON lines, in verl's or Bespoke-Stratos' schema (``questions.py``).
        model: checkpoint of pi, the model to be trained.
        posterior_model: checkpoint of q; the model itself with a hint in its prompt if None.
        traces: K, per question.
        temperature: of the traces; their likelihood under q is taken at it, the one under pi at 1.
        answers: m, sampled from pi after each trace at temperature 1 (``answer=accuracy``).
        reward: module with ``compute_score``, as verl loads it.
        keep: ``weighted``: every trace with weight; ``best``: each question's heaviest trace and, where the data set
            has one, its original, all with weight 1.
        shard: questions per file of a stage, which is what an interrupted stage repeats.
    """

    questions: str
    model: str
    posterior_model: str | None = None
    hint: HintSettings = HintSettings()
    end_of_thinking: Annotated[str, Field(min_length=1)] = "</think>"
    traces: Count = 8
    temperature: PositiveFloat = 0.7
    answer: Literal["accuracy", "geometric_mean", "product"] = "accuracy"
    answers: Count = 8
    answer_template: str = ANSWER
    importance: Literal["length_normalised", "exact"] = "length_normalised"
    reward: str = "pkg://verl_softthink.data.math_reward"
    reward_kwargs: dict[str, str] = {}
    max_trace_tokens: Count = 16384
    max_answer_tokens: Count = 2048
    keep: Literal["weighted", "best"] = "weighted"
    seed: int = 0
    shard: Count = 64

    @model_validator(mode="after")
    def _template(self) -> Self:
        if ANSWER not in self.answer_template:
            raise ValueError(f"answer_template={self.answer_template!r} must contain {ANSWER}")
        return self
