"""Settings of the offline pipeline; its working directory stores them and accepts no others."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from verl_softthink.config.base import PositiveFloat, Settings
from verl_softthink.methods.variational.settings import ANSWER, HintSettings

Count = Annotated[int, Field(ge=1)]


class OfflineSettings(Settings):
    """What to sample, and how to score, weigh and keep it.

    Attributes:
        questions: parquet or JSON lines, in verl's or Bespoke-Stratos' schema (``questions.py``).
        model: checkpoint of pi, the model to be trained.
        posterior_model: checkpoint of q; the model itself with a hint in its prompt if None.
        hint: what the posterior is shown, and how.
        end_of_thinking: text that ends a thought.
        thoughts: K, per question.
        temperature: of the thoughts; they are scored at it under q, and at 1 under pi.
        answer: estimator of pi(Y | x, z).
        answers: m, sampled from pi after each thought at temperature 1 (``answer=accuracy``).
        answer_template: the text of the reference answer, with ``{answer}`` in place of the ground truth.
        importance: ``length_normalised`` as published, or ``exact``.
        reward: module with ``compute_score``, as verl loads it.
        reward_kwargs: its further arguments.
        max_thought_tokens, max_answer_tokens: most tokens of a thought, and of an answer sampled after it.
        keep: ``weighted``: every thought with weight; ``best``: the heaviest thought of each question and, where the
            data set has one, its own, all with weight 1.
        seed: of the sampling.
        shard: questions per file of a stage; an interrupted stage repeats at most one.
    """

    questions: str
    model: str
    posterior_model: str | None = None
    hint: HintSettings = HintSettings()
    end_of_thinking: Annotated[str, Field(min_length=1)] = "</think>"
    thoughts: Count = 8
    temperature: PositiveFloat = 0.7
    answer: Literal["accuracy", "geometric_mean", "product"] = "accuracy"
    answers: Count = 8
    answer_template: str = ANSWER
    importance: Literal["length_normalised", "exact"] = "length_normalised"
    reward: str = "pkg://verl_softthink.data.math_reward"
    reward_kwargs: dict[str, str] = {}
    max_thought_tokens: Count = 16384
    max_answer_tokens: Count = 2048
    keep: Literal["weighted", "best"] = "weighted"
    seed: int = 0
    shard: Count = 64

    @model_validator(mode="after")
    def _template(self) -> Self:
        if ANSWER not in self.answer_template:
            raise ValueError(f"answer_template={self.answer_template!r} must contain {ANSWER}")
        return self
