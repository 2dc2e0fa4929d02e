"""SofT-GRPO's law (arXiv 2511.06411): Gumbel-softmax mixtures, scored by the density of the perturbed scores.

Draw (Eq. 9):      g'_i = l_i + s eps_i,  eps_i ~ Gumbel(0, 1),   y = softmax(g' / tau)
Score (Eq. 12):    log p(g') = sum_i ( -z_i - exp(-z_i) - log s ),   z_i = (g'_i - l_i) / s

exact: no clamp, no mask on l. ``s`` is the noise scale, 1 in the paper. P(argmax y = i) = softmax(l / s)_i for
every tau. With a single candidate l = 0 and the density does not depend on the model at all.
"""

from torch import Tensor

from verl_softthink.laws.action import Action, Candidates, LawParameters
from verl_softthink.laws.base import Law, finite, masked_sum


class GumbelLaw(Law):
    """Mixtures of K candidates by perturbed scores; the action's values are the scores g'."""

    name = "gumbel"
    reads = ("tau", "noise_scale")

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        scores = candidates.log_probs + parameters.noise_scale[:, None] * noise
        return Action(ids=candidates.ids, values=finite(scores, candidates.mask))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        scores = (action.values / parameters.tau[:, None]).masked_fill(~action.mask, -float("inf"))
        return scores.softmax(-1)

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        scale = parameters.noise_scale[:, None]
        z = (action.values - finite(log_probs, action.mask)) / scale
        return masked_sum(-z - (-z).exp() - scale.log(), action.mask)

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        # -inf / s = -inf: unused slots keep probability 0.
        tempered = (log_probs / parameters.noise_scale[:, None]).log_softmax(-1)
        return tempered.gather(-1, slot[:, None])[:, 0]
