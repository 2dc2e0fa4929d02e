"""An ordinary token as a law: one id, weight 1, scored by its full-vocabulary log-probability.

Sent through the whole soft path (trace, embedding, likelihood) it must reproduce plain GRPO: the discrete limit
of every other law's machinery. The draw is Gumbel-max over the whole vocabulary.
"""

import torch
from torch import Tensor

from verl_softthink.laws.action import NO_CANDIDATE, Action, Candidates
from verl_softthink.laws.base import Law
from verl_softthink.laws.parameters import LawParameters


class DiscreteLaw(Law):
    """One token per position; only slot 0 of the action is used and its value is 0."""

    name = "discrete"
    whole_vocabulary = True
    single_token = True
    normalisers = ("vocabulary",)

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        drawn = (candidates.log_probs + noise).argmax(-1, keepdim=True)
        ids = torch.full_like(candidates.ids, NO_CANDIDATE)
        ids[:, :1] = candidates.ids.gather(-1, drawn)
        return Action(ids=ids, values=torch.zeros_like(candidates.log_probs))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        return action.mask.float()

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return log_probs[:, 0]

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return log_probs.gather(-1, slot[:, None])[:, 0]
