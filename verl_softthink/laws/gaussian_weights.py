"""Soft Tokens' noise (arXiv 2509.19170) in the space that the candidates span: on the weights of their mean.

Draw:   w = p + s (eps - mean eps),   eps_i ~ N(0, 1),   s = gamma / sqrt(K - 1),   fed: sum_i w_i E_i
Score:  log p(w) = -|w - p(theta)|^2 / (2 s^2)

over the K frozen candidates, p renormalised among them; weights sum to 1 and may be negative. It is the density on the
plane of weights that sum to 1, K - 1 dimensions, exact up to the constant -(K - 1) / 2 log(2 pi s^2): s depends on the
number of candidates, which is frozen, and on no parameter of the model.

Why: of the law ``gaussian``'s H noisy coordinates the model can steer the K - 1 that its candidates span, at positions
where p is spread at all; the others change the reward and so are noise in the gradient, H / (K - 1) times as much as
the signal's own. Here every coordinate of the noise is one that the model can steer. As with other mixtures, the action
is the weights, so that the embeddings of the candidates are trained as the inputs that they are.

|w - p| is gamma in length on average, in units of an embedding's length where embeddings are orthogonal. With a single
candidate the draw is certain and its density 1, so that filter.top_p or filter.min_p says at which positions there is
noise. The shown token has the largest weight: a noisy choice, so that the end of thinking varies too; where it alone is
fed, the weights are scored all the same. gamma 0 feeds the mean, for evaluation only.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.base import Law, masked_sum
from verl_softthink.laws.gaussian import GAMMA
from verl_softthink.laws.mixture import Mixture
from verl_softthink.laws.noise import normal
from verl_softthink.laws.parameters import LawParameters, ParameterValue


class GaussianWeightsLaw(Law):
    """Mixtures of K candidates with noisy weights; the action's values are the weights."""

    name = "gaussian_weights"
    normalisers = ("candidates",)
    signed_weights = True
    parameters = (GAMMA,)

    def training_problem(self, values: Mapping[str, ParameterValue]) -> str | None:
        if not self.certain(values):
            return None
        return (
            "softthink.law.gamma=0 feeds the mean embedding, which is certain and has no likelihood; train with gamma "
            f"above 0, such as {GAMMA.default}, and keep 0 for evaluation"
        )

    def certain(self, values: Mapping[str, ParameterValue]) -> bool:
        return values["gamma"] == 0

    def noise(self, seed: Tensor, index: Tensor, candidates: Candidates, width: int) -> Tensor:
        """[N, K] float32 standard normal numbers, keyed by token id."""
        return normal(seed, index, candidates.ids)

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        mask = candidates.mask
        centred = noise - (masked_sum(noise, mask) / mask.sum(-1).clamp(min=1))[:, None]
        weights = candidates.log_probs.exp() + _scale(mask, parameters)[:, None] * centred
        return Action(ids=candidates.ids, values=torch.where(mask, weights, 0.0))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        return action.values

    def mixture(self, action: Action, parameters: LawParameters) -> Mixture:
        """The positive weights, renormalised."""
        positive = action.values.clamp(min=0)
        return Mixture.of_slots(action.ids, positive / positive.sum(-1, keepdim=True))

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        scale = _scale(action.mask, parameters)
        certain = scale == 0
        squared = masked_sum((action.values - log_probs.exp()).square(), action.mask)
        return torch.where(certain, 0.0, -squared / (2 * scale.masked_fill(certain, 1.0).square()))

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        # P(argmax w = i) has no closed form.
        return self.log_prob(action, log_probs, parameters)


def _scale(mask: Tensor, parameters: LawParameters) -> Tensor:
    """[N] standard deviation s, 0 where a single candidate leaves nothing to draw."""
    dimensions = mask.sum(-1) - 1
    return torch.where(dimensions > 0, parameters["gamma"] / dimensions.clamp(min=1).sqrt(), 0.0)
