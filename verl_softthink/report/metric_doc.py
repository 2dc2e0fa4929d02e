"""One row of the documentation of metrics."""

from dataclasses import dataclass


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
