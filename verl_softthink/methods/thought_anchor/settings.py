"""The settings of the anchor, as users write them under ``softthink.thought_anchor``."""

from typing import Annotated

from pydantic import Field

from verl_softthink.config.base import Settings

#: Each takes 12 bytes at every position of a response.
MOST_TOKENS = 1024


class ThoughtAnchorSettings(Settings):
    """What holds soft positions while the answer learns.

    Attributes:
        coefficient: weight of the divergence in the loss; 0: none.
        tokens: M, the reference model's most likely tokens that are told apart; the others count as one.
        advantage_weight: factor of the advantages at soft positions; 0: only ordinary tokens, so the answer, learn from
            the reward.
    """

    coefficient: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 32
    advantage_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
