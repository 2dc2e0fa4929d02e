"""Settings of the entropy profile: the ``softthink.entropy_profile`` group."""

from typing import Annotated

from pydantic import Field

from verl_softthink.config.base import Settings


class EntropyProfileSettings(Settings):
    """Next-token entropy by position of the chain of thought; these positions are logged, dumps have all."""

    positions: list[Annotated[int, Field(ge=0)]] = [0, 8, 32, 128]
