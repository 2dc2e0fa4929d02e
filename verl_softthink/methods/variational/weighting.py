"""Weights of the K thoughts of a question: w = rho / sum rho, where rho is an importance ratio times an answer term.

    log rho = log pi(z | x) - log r(z) + log c(z),     r = share * pi(. | x) + (1 - share) * q(. | x, y')

r is the proposal that the group was sampled from: the posterior q (share 0), the model itself (share 1, every ratio is
1 and the method is on-policy) or a mixture, whose ratio is at most 1 / share however badly q covers pi. Published
weights divide the log-ratio by the length of the thought, because a single thought dominates the ratios of whole ones
(arXiv 2509.22637, section on practical estimators); exact weights do not.

c estimates pi(Y | x, z), by one of (Acc, GML and L in the paper)

    accuracy        mean reward of m answers sampled from the model after z    unbiased for any set of right answers
    geometric_mean  exp( mean_t log pi(y*_t | x, z, y*_<t) )                   of one reference answer, per token
    product         prod_t pi(y*_t | x, z, y*_<t)                              of one reference answer; high variance

Each is in [0, 1], and 0 is kept as a log of -inf, so a thought without a right answer has a weight of exactly 0. So has
every thought of a group without a right answer: that group contributes no gradient.

Shapes: N responses of T tokens in G groups, which ``group`` [N] int64 numbers from 0; groups may differ in size.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PerThought = Float[Tensor, " thoughts"]
Group = Int[Tensor, " thoughts"]


@dataclass(frozen=True)
class ScoredThoughts:
    """N responses, padded to T tokens.

    Attributes:
        model: [N, T] log-probs without the hint, nats.
        posterior: [N, T] log-probs with the hint.
        thought: [N, T] bool, the tokens of the thought.
        answer: [N, T] bool, the tokens of the answer.
        rewards: [N] reward of each response, or mean reward of the answers sampled after its thought.
        group: [N] int64, the question of each.
    """

    model: Float[Tensor, "thoughts tokens"]
    posterior: Float[Tensor, "thoughts tokens"]
    thought: Bool[Tensor, "thoughts tokens"]
    answer: Bool[Tensor, "thoughts tokens"]
    rewards: PerThought
    group: Group


def importance_weights(
    thoughts: ScoredThoughts, *, estimator: str, share: float, length_normalised: bool
) -> Float[Tensor, " _"]:
    """[N] self-normalised weights.

    Args:
        thoughts: scored under the model and the posterior.
        estimator: of c, by name.
        share: of each group that was sampled from the model, in [0, 1].
        length_normalised: whether the log-ratio is divided by the length (published) or not (exact).
    """
    ratio = log_ratio(
        _total(thoughts.model, thoughts.thought),
        _total(thoughts.posterior, thoughts.thought),
        thoughts.thought.sum(dim=-1),
        share=share,
        length_normalised=length_normalised,
    )
    return self_normalise(ratio + _answer_term(thoughts, estimator), thoughts.group)


def posterior_weights(thoughts: ScoredThoughts, *, estimator: str) -> Float[Tensor, " _"]:
    """[N] weights for the update of the posterior: those of the model's thoughts by their answer term alone.

    sum_k w_k log q(z_k | x, y') with z_k ~ pi is the forward KL from pi(z | x, Y) up to a constant. The reverse KL
    would let the posterior collapse to a single shortcut.
    """
    return self_normalise(_answer_term(thoughts, estimator), thoughts.group)


def weighted_advantages(weights: PerThought, group: Group) -> PerThought:
    """[N] K w, so that a mean over the K B rows of a batch is the sum over each group and the mean over questions.

    There is no control variate: -1 has mean zero only if the thoughts are the model's own.
    """
    return group_sizes(group)[group] * weights


def log_ratio(
    model: PerThought,
    posterior: PerThought,
    lengths: Int[Tensor, " thoughts"],
    *,
    share: float,
    length_normalised: bool,
) -> PerThought:
    """Log importance ratio of N thoughts.

    Args:
        model: [N] log pi(z | x), nats, summed over the tokens of the thought.
        posterior: [N] log q(z | x, y'), nats, summed over the same tokens.
        lengths: [N] tokens of each thought, at least 1.
        share: of each group that was sampled from the model, in [0, 1].
        length_normalised: whether to divide by the length.

    Returns:
        [N] nats, or nats per token if ``length_normalised``.

    Raises:
        ValueError: a share outside [0, 1], or a thought without tokens.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share={share} is not a probability: choose it in [0, 1]")
    if (lengths < 1).any():
        raise ValueError(f"a thought has {int(lengths.min())} tokens: leave empty thoughts out")
    if share == 0.0:
        proposal = posterior
    elif share == 1.0:
        proposal = model
    else:
        proposal = torch.logaddexp(model + math.log(share), posterior + math.log1p(-share))
    difference = model - proposal
    return difference / lengths if length_normalised else difference


def log_accuracy(rewards: PerThought | Float[Tensor, "thoughts answers"]) -> PerThought:
    """Log of the mean reward.

    Args:
        rewards: [N] or [N, m] in [0, 1], of the answers sampled after each thought.

    Returns:
        [N]; -inf where every reward is 0.

    Raises:
        ValueError: a reward outside [0, 1], which is no estimate of a probability.
    """
    if ((rewards < 0) | (rewards > 1)).any():
        raise ValueError(
            f"rewards in [{rewards.min():g}, {rewards.max():g}] are not probabilities of a right answer: use a reward "
            "between 0 and 1"
        )
    return (rewards.mean(dim=-1) if rewards.dim() == 2 else rewards).log()


def log_likelihood(
    log_probs: Float[Tensor, "thoughts tokens"], mask: Bool[Tensor, "thoughts tokens"], *, length_normalised: bool
) -> PerThought:
    """Log-likelihood of the reference answer after each thought, per token (geometric mean) or whole (product).

    Args:
        log_probs: [N, T] nats.
        mask: [N, T] bool, the tokens of the answer.
        length_normalised: geometric mean if true, product if not.

    Returns:
        [N]; -inf for a thought that no answer follows (it never ended).
    """
    total = log_probs.masked_fill(~mask, 0.0).sum(dim=-1)
    count = mask.sum(dim=-1)
    value = total / count.clamp(min=1) if length_normalised else total
    return value.masked_fill(count == 0, float("-inf"))


def self_normalise(log_weights: PerThought, group: Group) -> PerThought:
    """Softmax within each group; zeros in a group whose log-weights are all -inf.

    Args:
        log_weights: [N] log rho, up to a constant within each group; -inf for no weight.
        group: [N] int64.

    Returns:
        [N], the dtype of ``log_weights``; each group sums to 1 or 0.

    Raises:
        ValueError: a log-weight that is NaN or +inf.
    """
    if (log_weights.isnan() | (log_weights == float("inf"))).any():
        raise ValueError(
            "a log-weight is NaN or +inf: the log-probs of its thought are not finite; check the precision of the "
            "rollout and the actor"
        )
    largest = _per_group(log_weights, group, "amax", float("-inf"))
    # In a group without weight, subtract 0 instead of -inf: its exponentials stay 0.
    largest = largest.masked_fill(largest == float("-inf"), 0.0)
    weights = (log_weights - largest[group]).exp()
    totals = _per_group(weights, group, "sum", 0.0)
    return weights / totals.masked_fill(totals == 0, 1.0)[group]


def effective_sample_size(weights: PerThought, group: Group) -> Float[Tensor, " groups"]:
    """[G] 1 / sum w^2 of self-normalised weights [N], between 1 and the group's size; 0 for a group without weight."""
    squares = _per_group(weights.square(), group, "sum", 0.0)
    return torch.where(squares > 0, 1 / squares, torch.zeros_like(squares))


def group_sizes(group: Group) -> Int[Tensor, " groups"]:
    """[G] rows of each group."""
    return torch.bincount(group)


def weight_metrics(weights: PerThought, group: Group) -> dict[str, float]:
    """Effective sample size and largest weight of the groups that have weight, and the share of groups without any."""
    sizes = effective_sample_size(weights, group)
    used = sizes > 0
    metrics = {"dropped_groups": 1 - used.float().mean().item()}
    if used.any():
        metrics |= {
            "effective_sample_size/mean": sizes[used].mean().item(),
            "effective_sample_size/min": sizes[used].min().item(),
            "largest_weight/mean": _per_group(weights, group, "amax", 0.0)[used].mean().item(),
        }
    return metrics


def _answer_term(thoughts: ScoredThoughts, estimator: str) -> Float[Tensor, " _"]:
    if estimator == "accuracy":
        return log_accuracy(thoughts.rewards)
    return log_likelihood(thoughts.model, thoughts.answer, length_normalised=estimator == "geometric_mean")


def _total(
    log_probs: Float[Tensor, "thoughts tokens"], mask: Bool[Tensor, "thoughts tokens"]
) -> Float[Tensor, " thoughts"]:
    # In float64, since the difference of two sums of thousands of terms is taken.
    return log_probs.double().masked_fill(~mask, 0.0).sum(dim=-1)


def _per_group(values: PerThought, group: Group, reduce: str, initial: float) -> Float[Tensor, " groups"]:
    reduced = torch.full((int(group.max()) + 1,), initial, dtype=values.dtype, device=values.device)
    return reduced.scatter_reduce(0, group, values, reduce=reduce)
