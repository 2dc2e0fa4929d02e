"""What the documentation of one metric consists of."""

from dataclasses import dataclass

#: Of all metrics of this package, in verl's own trackers.
PREFIX = "softthink/"


@dataclass(frozen=True)
class MetricDoc:
    """One row.

    Attributes:
        name: without ``softthink/``; ``*`` stands for the parts that vary.
        meaning: what is averaged, over what, in which unit.
        healthy: a value to expect.
        otherwise: what to do when it is not.
    """

    name: str
    meaning: str
    healthy: str
    otherwise: str
