"""From the scores of a step's traces to what the actor learns from: weights, advantages and their metrics."""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.methods.variational.answers import log_accuracy, log_likelihood
from verl_softthink.methods.variational.groups import effective_sample_size, group_sizes, self_normalise
from verl_softthink.methods.variational.importance import log_ratio


@dataclass(frozen=True)
class ScoredTraces:
    """N responses, padded to T tokens.

    Attributes:
        model: [N, T] log-probs without the hint, nats.
        posterior: [N, T] log-probs with the hint.
        trace: [N, T] bool, the tokens of the trace.
        answer: [N, T] bool, the tokens of the answer.
        rewards: [N] verdict of each response, or mean verdict of its trace's answers.
        group: [N] int64, the question of each.
    """

    model: Tensor
    posterior: Tensor
    trace: Tensor
    answer: Tensor
    rewards: Tensor
    group: Tensor


def importance_weights(traces: ScoredTraces, *, estimator: str, share: float, length_normalised: bool) -> Tensor:
    """[N] self-normalised weights: importance ratio times the answer's term, within each group."""
    ratio = log_ratio(
        _total(traces.model, traces.trace),
        _total(traces.posterior, traces.trace),
        traces.trace.sum(dim=-1),
        share=share,
        length_normalised=length_normalised,
    )
    return self_normalise(ratio + _answer_term(traces, estimator), traces.group)


def posterior_weights(traces: ScoredTraces, *, estimator: str) -> Tensor:
    """[N] weights for the posterior's own update: the model's traces by their answers, whatever their likelihood.

    sum_k w_k log q(z_k | x, y') with z_k ~ pi is the forward KL from pi(z | x, Y) up to a constant. The reverse KL
    would let the posterior keep one shortcut.
    """
    return self_normalise(_answer_term(traces, estimator), traces.group)


def advantages(weights: Tensor, group: Tensor) -> Tensor:
    """[N] K w: a mean over the K B rows of a batch is then the sum over each group and the mean over questions.

    No control variate: -1 has mean zero only if the traces are the model's.
    """
    return group_sizes(group)[group] * weights


def weight_metrics(weights: Tensor, group: Tensor) -> dict[str, float]:
    """Effective sample size of the groups that have weight, the largest weight, and the part of groups without any."""
    sizes = effective_sample_size(weights, group)
    used = sizes > 0
    metrics = {"dropped_groups": 1 - used.float().mean().item()}
    if used.any():
        metrics |= {
            "effective_sample_size/mean": sizes[used].mean().item(),
            "effective_sample_size/min": sizes[used].min().item(),
            "largest_weight/mean": _largest(weights, group)[used].mean().item(),
        }
    return metrics


def _answer_term(traces: ScoredTraces, estimator: str) -> Tensor:
    if estimator == "accuracy":
        return log_accuracy(traces.rewards)
    return log_likelihood(traces.model, traces.answer, length_normalised=estimator == "geometric_mean")


def _total(log_probs: Tensor, mask: Tensor) -> Tensor:
    # In float64: sums of thousands of terms are about to be subtracted.
    return log_probs.double().masked_fill(~mask, 0.0).sum(dim=-1)


def _largest(weights: Tensor, group: Tensor) -> Tensor:
    return torch.zeros(len(group_sizes(group)), dtype=weights.dtype).scatter_reduce(0, group, weights, reduce="amax")
