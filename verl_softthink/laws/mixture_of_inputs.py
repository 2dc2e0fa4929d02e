"""Mixture of inputs (arXiv 2505.14827): the sampled token blended with the distribution it was sampled from.

    w = (H p + (beta + 1 - H) y) / (beta + 1),   y the one-hot of a token sampled from p, shown as the text

with p renormalised over the candidates and H their entropy divided by its largest value, log of their number: the
method's formula with the candidates in place of the vocabulary. The reported log-probability is the sampled token's;
the blend is no function of it alone, and the method is for inference.
"""

import torch
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.base import Law, finite
from verl_softthink.laws.parameters import LawParameters, Parameter

BETA = Parameter(
    "beta", "weight beta of the sampled token, beside 1 for the distribution", default=1.0, at_least=0, at_most=1e3
)


class MixtureOfInputsLaw(Law):
    """The sampled token stands in slot 0; the action's values are the weights."""

    name = "mixture_of_inputs"
    trainable = False
    normalisers = ("candidates",)
    parameters = (BETA,)

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        mask = candidates.mask
        drawn = (candidates.log_probs + noise).masked_fill(~mask, -torch.inf).argmax(-1, keepdim=True)
        # The sampled slot first, the others in their order.
        slots = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        order = torch.where(slots == drawn, -1, slots).argsort(-1)
        ids, log_probs, mask = (t.gather(-1, order) for t in (candidates.ids, candidates.log_probs, mask))
        probs = torch.where(mask, log_probs.log_softmax(-1).exp(), 0.0)
        entropy = torch.special.entr(probs).sum(-1, keepdim=True)
        # One candidate has entropy 0, over log 2 as over anything.
        share = entropy / mask.sum(-1, keepdim=True).clamp(min=2).to(probs.dtype).log()
        beta = parameters["beta"][:, None]
        sampled = (slots == 0).to(probs.dtype)
        return Action(ids=ids, values=finite((share * probs + (beta + 1 - share) * sampled) / (beta + 1), mask))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        return action.values

    def shown_slot(self, action: Action, parameters: LawParameters) -> Tensor:
        return torch.zeros_like(action.ids[:, 0])

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return log_probs[:, 0]

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return log_probs[:, 0]
