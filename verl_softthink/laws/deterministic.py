"""Soft Thinking (arXiv 2505.15778): the mixture is the filtered, renormalised distribution itself. No noise.

    e = sum_i p~_i E[k_i],   shown token = argmax

Given the logits the action is certain, so its log-probability is 0 and carries no gradient: the law serves
inference and evaluation, and training refuses it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.base import Law, finite
from verl_softthink.laws.parameters import LawParameters, ParameterValue


class DeterministicLaw(Law):
    """The expected embedding of the candidates; the action's values are their log-probabilities."""

    name = "deterministic"
    trainable = False
    normalisers = ("candidates",)

    def certain(self, values: Mapping[str, ParameterValue]) -> bool:
        return True

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        return Action(ids=candidates.ids, values=finite(candidates.log_probs, candidates.mask))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        return action.values.masked_fill(~action.mask, -torch.inf).softmax(-1)

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return torch.zeros_like(log_probs[:, 0])

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return torch.zeros_like(log_probs[:, 0])
