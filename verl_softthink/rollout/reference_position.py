"""One position of the reference rollout."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class ReferencePosition:
    """What the law does at one position, in float64.

    Attributes:
        ids: ids of the action, most likely first unless the law has an order of its own.
        values: the action's values.
        weights: mixture weights.
        log_prob: log-density of the action.
        shown_log_prob: what scores the position where only the shown token is fed.
        shown: the token that the text shows.
        fed: [H] the drawn embedding; None where the mixture is fed.
    """

    ids: list[int]
    values: list[float]
    weights: list[float]
    log_prob: float
    shown_log_prob: float
    shown: int
    fed: Tensor | None = None
