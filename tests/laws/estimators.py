"""Score-function estimates on enumerable toys, made with the package's own rollout and likelihood."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from verl_softthink.laws import LAWS, Action, Candidates, LawParameters, candidate_log_probs, select_candidates
from verl_softthink.laws.candidates import FilterParameters
from verl_softthink.laws.noise import gumbel

Reward = Callable[[np.ndarray], np.ndarray]  # weights [N, K] to rewards [N]


def draw(
    name: str,
    logits: Tensor,
    width: int,
    parameters: LawParameters,
    *,
    seed: int,
    step: int = 0,
    normalise_over: str = "candidates",
) -> Action:
    """One action per row of logits [N, V] among the ``width`` most likely ids, with the package's noise."""
    rows = len(logits)
    candidates = select_candidates(logits, FilterParameters.uniform(rows, max_topk=width), width=width, fetch=width)
    if normalise_over == "vocabulary":
        over_vocabulary = candidate_log_probs(logits, candidates.ids, normalise_over="vocabulary")
        candidates = Candidates(ids=candidates.ids, log_probs=over_vocabulary)
    seeds = torch.arange(rows) + seed * 1_000_003
    return LAWS[name].sample(candidates, parameters, gumbel(seeds, torch.full((rows,), step), candidates.ids))


def score(
    name: str, action: Action, logits: Tensor, parameters: LawParameters, normalise_over: str | None = None
) -> np.ndarray:
    """d log p(action) / d logits, [N, V], with l normalised as the law asks unless told otherwise."""
    leaf = logits.clone().requires_grad_()
    log_probs = candidate_log_probs(leaf, action.ids, normalise_over=normalise_over or LAWS[name].normalisers[0])
    LAWS[name].log_prob(action, log_probs, parameters).sum().backward()
    return leaf.grad.double().numpy()


def weights_by_token(name: str, action: Action, parameters: LawParameters, vocabulary: int) -> np.ndarray:
    """The mixture as weights over the vocabulary, [N, V]."""
    weights = LAWS[name].weights(action, parameters)
    dense = torch.zeros(len(weights), vocabulary).scatter_add_(-1, action.ids.clamp(min=0), weights)
    return dense.double().numpy()


def shown_tokens(name: str, action: Action, parameters: LawParameters) -> np.ndarray:
    """[N] ids of the shown tokens."""
    return action.ids.gather(-1, LAWS[name].shown_slot(action, parameters)[:, None])[:, 0].numpy()
