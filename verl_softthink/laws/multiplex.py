"""Multiplex thinking (arXiv 2601.08808): K independent tokens, fed as one mixture.

Draw:   k_1 .. k_K ~ p = softmax(logits / T) over the vocabulary, independently
Feed:   s = sum_j w_j E[k_j]; w_j = 1 / K, or proportional to p over the distinct tokens drawn
Score:  log pi = sum_j log p(k_j), exact and factorised; K = 1 is the discrete law

A token drawn twice keeps two slots: each draw is scored, and the two weights add up in the mixture (by probability
they share the token's weight). The shown token has the largest total weight, the earlier draw winning ties. It is a
function of the draws, and where it alone is fed the draws are scored all the same.

Each draw inverts the cumulative distribution with one counter, (seed, output index, number of the draw).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from verl_softthink.laws.action import NO_CANDIDATE, Action, Candidates
from verl_softthink.laws.base import Law, finite, masked_sum
from verl_softthink.laws.noise import uniform
from verl_softthink.laws.parameters import LawParameters, Parameter, ParameterValue

#: Rows whose cumulative distribution [rows, V] is held in double precision at a time.
ROWS_AT_ONCE = 64
DRAWS = Parameter("draws", "tokens drawn at a position", default=3, dtype=torch.int64, at_least=1, at_most=64)
WEIGHTING = Parameter(
    "weighting",
    "weights of the tokens drawn: the same for each draw, or by the tokens' probabilities",
    default="uniform",
    dtype=torch.int64,
    choices=("uniform", "probability"),
)


class MultiplexLaw(Law):
    """K draws, one a slot, in the order drawn; the action's values are the log-weights but for a common constant."""

    name = "multiplex"
    whole_vocabulary = True
    normalisers = ("vocabulary",)
    parameters = (DRAWS, WEIGHTING)

    def slots(self, values: Mapping[str, ParameterValue]) -> int:
        return values["draws"]

    def noise(self, seed: Tensor, index: Tensor, candidates: Candidates, width: int) -> Tensor:
        """[N, width] float64 uniforms, keyed by the number of the draw."""
        return uniform(seed[:, None], index[:, None], torch.arange(width, device=seed.device)[None])

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        slot = torch.cat(
            [
                _invert(log_probs, draws)
                for log_probs, draws in zip(
                    candidates.log_probs.split(ROWS_AT_ONCE), noise.split(ROWS_AT_ONCE), strict=True
                )
            ]
        )
        used = torch.arange(noise.shape[1], device=slot.device) < parameters["draws"][:, None]
        ids = candidates.ids.gather(-1, slot).masked_fill(~used, NO_CANDIDATE)
        repeats = ((ids[:, :, None] == ids[:, None, :]) & used[:, None, :]).sum(-1)
        log_weights = candidates.log_probs.gather(-1, slot) - repeats.to(candidates.log_probs.dtype).log()
        by_probability = parameters["weighting"] == WEIGHTING.number("probability")
        values = torch.where(by_probability[:, None], log_weights, 0.0)
        return Action(ids=ids, values=finite(values, used))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        return action.values.masked_fill(~action.mask, -torch.inf).softmax(-1)

    def shown_slot(self, action: Action, parameters: LawParameters) -> Tensor:
        weights = self.weights(action, parameters)
        same = action.ids[:, :, None] == action.ids[:, None, :]
        return torch.where(same, weights[:, None, :], 0.0).sum(-1).argmax(-1)

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return masked_sum(log_probs, action.mask)

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return self.log_prob(action, log_probs, parameters)


def _invert(log_probs: Tensor, noise: Tensor) -> Tensor:
    """Slots [N, D] at which the cumulative distribution of [N, V] passes the uniforms [N, D]."""
    cumulative = log_probs.double().exp().cumsum(-1)
    # The largest uniform is 1 - 2^-53, whose product with the total rounds below it: some slot always passes.
    return torch.searchsorted(cumulative, noise * cumulative[:, -1:], right=True)
