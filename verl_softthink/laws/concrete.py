"""The same draw as ``gumbel``, scored by what the model sees of it: the Concrete distribution of the weights.

The weights y discard one degree of freedom of the scores (softmax is shift-invariant), the one that the model never
sees. Their density (Maddison et al. 2017; Jang et al. 2017; specs: soft_grpo, section 5) is the marginal over it,
hence the lower-variance likelihood for the same action:

    log p(y) = log Gamma(K) + (K-1) log t + sum_i (a_i - (t+1) log y_i) - K logsumexp_i(a_i - t log y_i)

with a = l / s, t = tau / s, and K the row's own number of candidates. ``log_prob`` gives the density of the same
random variable in the coordinates of the K-1 score differences, where log y_i = g'_i / tau - const turns it into

    log p = log Gamma(K) - (K-1) log s + sum_i (l_i - g'_i)/s - K logsumexp_i((l_i - g'_i)/s)

The two differ by a Jacobian without the model's parameters, (K-1) log tau - sum_i log y_i (``log_jacobian``), so
ratios, gradients and divergences are equal. The Jacobian alone reaches hundreds of nats at small tau and would
swallow the digits of a float32 ratio; the differences' density never exceeds zero and does not contain tau.
"""

import torch
from torch import Tensor

from verl_softthink.laws.action import Action
from verl_softthink.laws.base import finite, masked_sum
from verl_softthink.laws.gumbel import GumbelLaw
from verl_softthink.laws.parameters import LawParameters


class ConcreteLaw(GumbelLaw):
    """Mixtures of K candidates, scored as points of the simplex; the action's values are the scores g'."""

    name = "concrete"

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        mask = action.mask
        scale = parameters["noise_scale"]
        gap = (finite(log_probs, mask) - action.values) / scale[:, None]
        count = mask.sum(-1).to(gap.dtype)
        return (
            torch.lgamma(count)
            - (count - 1) * scale.log()
            + masked_sum(gap, mask)
            - count * gap.masked_fill(~mask, -torch.inf).logsumexp(-1)
        )

    def log_jacobian(self, action: Action, parameters: LawParameters) -> Tensor:
        """[N] what turns ``log_prob`` into the density of the weights: log |d differences / d y|."""
        mask = action.mask
        log_weights = (action.values / parameters["tau"][:, None]).masked_fill(~mask, -torch.inf).log_softmax(-1)
        count = mask.sum(-1).to(log_weights.dtype)
        return (count - 1) * parameters["tau"].log() - masked_sum(finite(log_weights, mask), mask)
