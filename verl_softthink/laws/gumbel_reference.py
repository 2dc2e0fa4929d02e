"""The arithmetic of SofT-GRPO's released code, for comparison only: biased, and off by default.

Where it departs from the paper's Eq. 9-12 (specs: soft_grpo, section 4): log-probabilities are log(p + 1e-6);
the noise and the differences delta_i = g'_i - l_i are clamped to [-1.5, 3]; the sum over candidates is a mean over
those with l_i > -3, a mask that depends on the model, so the ratio jumps where a candidate crosses it. On the edge of
the clamp, where on-policy draws with clamped noise sit, torch passes the gradient. The released code has no noise
scale.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.base import finite, masked_sum
from verl_softthink.laws.gumbel import TAU, GumbelLaw
from verl_softthink.laws.parameters import LawParameters, ParameterValue

# All four constants are the released code's.
PROBABILITY_OFFSET = 1e-6
NOISE_MIN, NOISE_MAX = -1.5, 3.0
SCORED_LOG_PROB_MIN = -3.0


class GumbelReferenceLaw(GumbelLaw):
    """Gumbel mixtures with clamped noise and a masked-mean likelihood."""

    name = "gumbel_reference"
    parameters = (TAU,)

    def score_noise(self, values: Mapping[str, ParameterValue]) -> float | None:
        # Clamping moves the noise's mean.
        return None

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        log_probs = (candidates.log_probs.exp() + PROBABILITY_OFFSET).log()
        clamped = noise.clamp(NOISE_MIN, NOISE_MAX)
        return Action(ids=candidates.ids, values=torch.where(candidates.mask, log_probs + clamped, 0.0))

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        shifted = (finite(log_probs, action.mask).exp() + PROBABILITY_OFFSET).log()
        difference = (action.values - shifted).clamp(NOISE_MIN, NOISE_MAX)
        scored = action.mask & (shifted > SCORED_LOG_PROB_MIN)
        total = masked_sum(-difference - (-difference).exp(), scored)
        # At least one candidate holds 1/K >= e^-3 of the mass for K <= 20, so only wider sets can score none.
        return total / scored.sum(-1).clamp(min=1)

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return log_probs.log_softmax(-1).gather(-1, slot[:, None])[:, 0]
