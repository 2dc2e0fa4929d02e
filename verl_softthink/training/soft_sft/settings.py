"""What thoughts are fed during fine-tuning: the settings under ``softthink.soft_sft``."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from verl_softthink.config.base import Settings
from verl_softthink.config.settings import FilterSettings, LawSettings
from verl_softthink.laws import LAWS


class JitterSettings(Settings):
    """Noise on the targets before they are fed; all zero feeds them as they are.

    Attributes:
        sigma: standard deviation, in nats, of normal noise on the log-weights, which are then normalised: a
            logistic-normal distribution around the target.
        leak: a share of the mass, uniform between 0 and this, is spread evenly over other candidates.
        leak_slots: these are candidates of the micro-batch's other thoughts, at most so many of them.
    """

    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    leak: Annotated[float, Field(ge=0, lt=1)] = 0.075
    leak_slots: Annotated[int, Field(ge=1)] = 32


class SoftSftSettings(Settings):
    """How the mixtures of fine-tuning are made.

    Attributes:
        jitter: applied to targets first.
        law: draws from what jitter gives, and from the model's own distributions, as in the rollout; null feeds
            weights as they are.
        filter: of the candidates that the law, or a mixture of the model's own, may hold.
        own_probability: of each thought to be fed the model's own mixture.
        own_passes: forward passes without gradient that make these. After p of them the first p thoughts of a row are
            those of a rollout; later ones follow thoughts that were fed targets.
        seed: at least 0, of all noise; every step has its own stream on every data-parallel rank.
    """

    jitter: JitterSettings = JitterSettings()
    law: LawSettings | None = None
    filter: FilterSettings = FilterSettings(top_k=0, top_p=1.0, max_topk=32)
    own_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    own_passes: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _feeds_mixtures(self) -> Self:
        if self.law is not None and LAWS[self.law.name].draws_embedding:
            raise ValueError(
                f"law.name={self.law.name!r} draws embeddings, and fine-tuning feeds mixtures of tokens; use a law "
                "that mixes tokens, or law=null with jitter"
            )
        return self
