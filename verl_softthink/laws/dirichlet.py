"""Dirichlet mixtures (stochastic soft thinking, arXiv 2508.03440; the ablation of SofT-GRPO, arXiv 2511.06411).

Draw:   y ~ Dirichlet(a),   a_i = c p~_i over the frozen candidates, c the concentration
Score:  log p(y) = log Gamma(sum a) - sum_i log Gamma(a_i) + sum_i (a_i - 1) log y_i

What is scored is what is fed: the released ablation fed value / sum but trained on softmax(value).

``log_prob`` gives the density of the same draw in the coordinates log y_i - log y_K, which drops -sum_i log y_i: a
Jacobian without the model (``log_jacobian``), of up to millions of nats for unlikely candidates. -log Gamma(a) is
written log a - log Gamma(1 + a), so that nothing overflows however unlikely a candidate is under the scoring model.

y is drawn as normalised Gamma variates, y_i ~ G_i, by the boost log G(a) = log G(a + 1) + log(U) / a and Marsaglia
and Tsang's rejection (2000) for a + 1, with ``ROUNDS`` proposals of two counters each. A proposal is rejected with
probability below 0.05, all of them with less than 1e-20; the variate is then the proposals' centre.

Candidates less likely than ``SMALLEST_SHARE`` times the first are left out at rollout: log y would not be finite in
float32, and their weight is zero in any precision.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.base import Law, finite, masked_sum
from verl_softthink.laws.noise import uniform
from verl_softthink.laws.parameters import LawParameters, Parameter

ROUNDS = 16
#: Counters per candidate: two a round, and one for the boost.
LANES = 2 * ROUNDS + 1
#: At the smallest concentration, log U / a stays above -1e17.
SMALLEST_SHARE = 1e-12
# Below a hundredth a draw is a token, above 1e4 it is the distribution.
CONCENTRATION = Parameter(
    "concentration", "sum c of the Dirichlet distribution's parameters", default=1.0, at_least=0.01, at_most=1e4
)


class DirichletLaw(Law):
    """Mixtures of K candidates; the action's values are the log-weights."""

    name = "dirichlet"
    normalisers = ("candidates",)
    smallest_share = SMALLEST_SHARE
    parameters = (CONCENTRATION,)

    def noise(self, seed: Tensor, index: Tensor, candidates: Candidates, width: int) -> Tensor:
        """[N, K, LANES] float64 uniforms, keyed by token id and lane."""
        lanes = candidates.ids[..., None] * LANES + torch.arange(LANES, device=seed.device)
        return uniform(seed[:, None, None], index[:, None, None], lanes)

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        mask = candidates.mask
        shape = parameters["concentration"].double()[:, None] * finite(candidates.log_probs, mask).double().exp()
        log_gamma = log_gamma_variate(shape, noise).masked_fill(~mask, -torch.inf)
        values = log_gamma.log_softmax(-1).to(candidates.log_probs.dtype)
        return Action(ids=candidates.ids, values=finite(values, mask))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        return action.values.masked_fill(~action.mask, -torch.inf).softmax(-1)

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        mask = action.mask
        log_shape = finite(log_probs, mask) + parameters["concentration"].log()[:, None]
        shape = log_shape.exp()
        total = masked_sum(shape, mask)
        return torch.lgamma(total) + masked_sum(log_shape - torch.lgamma(1 + shape) + shape * action.values, mask)

    def log_jacobian(self, action: Action, parameters: LawParameters) -> Tensor:
        """[N] what turns ``log_prob`` into the density of the first K - 1 weights."""
        return -masked_sum(action.values, action.mask)

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        # P(argmax y = i) has no closed form.
        return self.log_prob(action, log_probs, parameters)


def log_gamma_variate(
    shape: Float64[Tensor, "rows slots"], noise: Float64[Tensor, "rows slots lanes"]
) -> Float64[Tensor, "rows slots"]:
    """Logarithms of Gamma(shape, 1) variates [N, K] from uniforms [N, K, LANES], in double precision."""
    centre = (shape + 1 - 1 / 3)[..., None]
    normal, accept = torch.special.ndtri(noise[..., 0 : 2 * ROUNDS : 2]), noise[..., 1 : 2 * ROUNDS : 2]
    root = 1 + normal / (3 * centre.sqrt())
    positive = root > 0
    log_cube = 3 * root.masked_fill(~positive, 1.0).log()
    # The exact test, without the squeeze that saves the logarithms.
    bound = 0.5 * normal.square() + centre * (1 - log_cube.exp() + log_cube)
    accepted = positive & (accept.log() < bound)
    first = accepted.int().argmax(-1, keepdim=True)
    log_cube = torch.where(accepted.any(-1), log_cube.gather(-1, first)[..., 0], 0.0)
    boost = noise[..., -1].log() / shape
    return centre[..., 0].log() + log_cube + boost
