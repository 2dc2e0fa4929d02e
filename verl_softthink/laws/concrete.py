"""The same draw as ``gumbel``, scored by the density of the weights: the Concrete distribution.

The weights y discard one degree of freedom of the scores (softmax is shift-invariant), the one that the model
never sees. Their density (Maddison et al. 2017; Jang et al. 2017) is the marginal over it, hence the
lower-variance likelihood for the same action:

    log p(y) = log Gamma(K) + (K-1) log t + sum_i (l'_i - (t+1) log y_i) - K logsumexp_i(l'_i - t log y_i)

with t = tau / s and l' = l / s for noise scale s. K counts the row's own candidates. With log y_i = g'_i / tau - c,
c = logsumexp(g' / tau), everything is finite however small a weight is, so the scores stay the stored values.
"""

import torch
from torch import Tensor

from verl_softthink.laws.action import Action, LawParameters
from verl_softthink.laws.base import finite, masked_sum
from verl_softthink.laws.gumbel import GumbelLaw


class ConcreteLaw(GumbelLaw):
    """Mixtures of K candidates, scored as points of the simplex; the action's values are the scores g'."""

    name = "concrete"

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        mask = action.mask
        scale = parameters.noise_scale
        logits = finite(log_probs, mask) / scale[:, None]
        scaled_scores = action.values / scale[:, None]
        count = mask.sum(-1).to(scaled_scores.dtype)
        # t log y_i = g'_i / s - t c: the shift t c leaves logsumexp as + K t c and the sum as + (t + 1) K c.
        temperature = parameters.tau / scale
        log_weights = (action.values / parameters.tau[:, None]).masked_fill(~mask, -torch.inf).log_softmax(-1)
        gap = logits - scaled_scores
        shift = (action.values / parameters.tau[:, None]).masked_fill(~mask, -torch.inf).logsumexp(-1)
        logsumexp = gap.masked_fill(~mask, -torch.inf).logsumexp(-1) + temperature * shift
        return (
            torch.lgamma(count)
            + (count - 1) * temperature.log()
            + masked_sum(logits - (temperature + 1)[:, None] * finite(log_weights, mask), mask)
            - count * logsumexp
        )
