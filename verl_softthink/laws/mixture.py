"""What a mixture holds: one weight for each token, in however many slots the token stands, and measures of it.

    w(v) = sum of the weights of the slots whose id is v
    effective tokens 1 / sum_v w(v)^2,  entropy -sum_v w(v) log w(v),  top weight max_v w(v)

A law may put one token into several slots (``multiplex`` does for a token that it draws twice). Measured slot by slot,
three draws of one token would count as three effective tokens; here they count as one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from verl_softthink.laws.action import NO_CANDIDATE


@dataclass(frozen=True)
class Mixture:
    """Mixtures of N positions.

    Attributes:
        ids: [N, K] int64, each row's tokens once, each in the first slot that held it; ``NO_CANDIDATE`` elsewhere.
        weights: [N, K] float, the tokens' weights; 0 elsewhere.
    """

    ids: Tensor
    weights: Tensor

    @classmethod
    def of_slots(cls, ids: Int64[Tensor, "rows slots"], weights: Float[Tensor, "rows slots"]) -> "Mixture":
        """Merge slots of equal ids; whatever weight an unused slot has is left out."""
        weights = torch.where(ids != NO_CANDIDATE, weights, 0.0)
        # Sorted stably, the slots of a token stand together and the first of them leads.
        ordered, slots = ids.sort(dim=-1, stable=True)
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        leads = torch.ones_like(ids, dtype=torch.bool)
        leads[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        leader = slots.gather(-1, torch.where(leads, place, 0).cummax(-1).values)
        leader_of_slot = torch.empty_like(slots).scatter(-1, slots, leader)
        return cls(
            ids=torch.where(leader_of_slot == place, ids, NO_CANDIDATE),
            weights=torch.zeros_like(weights).scatter_add(-1, leader_of_slot, weights),
        )

    @property
    def tokens(self) -> Tensor:
        """[N] int64, how many different tokens."""
        return (self.ids != NO_CANDIDATE).sum(-1)

    @property
    def effective_tokens(self) -> Tensor:
        """[N] float, between 1 and ``tokens``."""
        return 1 / self.weights.square().sum(-1)

    @property
    def entropy(self) -> Tensor:
        """[N] float, nats."""
        return torch.special.entr(self.weights).sum(-1)

    @property
    def top_weight(self) -> Tensor:
        """[N] float, the largest weight."""
        return self.weights.amax(-1)
