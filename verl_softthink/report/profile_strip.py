"""The profile of a response on the page of traces: how uncertain the model was, and how mixed its thoughts, all along.

An SVG box of T columns, one a position, and two halves: the entropy of the next-token distribution grows upwards from
the middle, the effective number of tokens beyond the first one downwards. All responses of a page share one scale, so
that a pair side by side can be compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

#: Where the halves meet; the box is twice as high.
MIDDLE = 100
#: Least tops of the scales: a response without any uncertainty or mixture is drawn flat, not as magnified rounding.
LEAST_ENTROPY, LEAST_EFFECTIVE = 0.1, 1.1


class Position(Protocol):
    """What is read of a position: its phase, entropy in nats and effective number of tokens, None if unknown."""

    phase: str
    entropy: float | None
    effective: float | None


@dataclass(frozen=True)
class Scale:
    """Tops of the two halves.

    Attributes:
        entropy: in nats.
        effective: tokens.
    """

    entropy: float
    effective: float

    @classmethod
    def of(cls, positions: Iterable[Position]) -> "Scale":
        """The largest values of all positions of a page."""
        entropy, effective = LEAST_ENTROPY, LEAST_EFFECTIVE
        for position in positions:
            entropy = max(entropy, position.entropy or 0.0)
            effective = max(effective, position.effective or 1.0)
        return cls(entropy, effective)


@dataclass(frozen=True)
class Profile:
    """Path data of one response.

    Attributes:
        entropy, effective: bars upwards and downwards; None where nothing was recorded or drawn.
        thinking: what lies behind the positions of thinking.
        scale: of the page.
    """

    entropy: str | None
    effective: str | None
    thinking: str
    scale: Scale


def profile(positions: Sequence[Position], scale: Scale, thinking: frozenset[str]) -> Profile:
    """Draw a response; ``thinking`` are the phases to be marked."""
    up = [None if position.entropy is None else -position.entropy / scale.entropy for position in positions]
    down = [
        None if position.effective is None else (position.effective - 1) / (scale.effective - 1)
        for position in positions
    ]
    return Profile(
        entropy=_bars(up) if any(share is not None for share in up) else None,
        effective=_bars(down) if any(share is not None for share in down) else None,
        thinking="".join(
            f"M{number} 0v{2 * MIDDLE}h1v-{2 * MIDDLE}z"
            for number, position in enumerate(positions)
            if position.phase in thinking
        ),
        scale=scale,
    )


def _bars(shares: Sequence[float | None]) -> str:
    """Bars from the middle, one unit wide, of -1 (up) to 1 (down); none where a share is None or rounds to 0."""
    heights = [0 if share is None else round(share * MIDDLE) for share in shares]
    return "".join(f"M{number} {MIDDLE}v{h}h1v{-h}z" for number, h in enumerate(heights) if h)
