"""The trace's share of an importance weight: how likely a trace is under the model and under what proposed it.

    log pi(z | x) - log r(z),     r = share * pi(. | x) + (1 - share) * q(. | x, y')

r is what the traces of a group were drawn from: the posterior q (share 0), the model itself (share 1, every ratio is 1
and the method becomes on-policy) or a mixture, whose ratio is at most 1 / share however badly q covers pi. Published
weights divide by the trace's length, because the ratio of whole traces is dominated by one of them (arXiv 2509.22637,
section on practical estimators); the exact ones do not.
"""

import math

import torch
from torch import Tensor


def log_ratio(model: Tensor, posterior: Tensor, lengths: Tensor, *, share: float, length_normalised: bool) -> Tensor:
    """Log importance ratio of N traces.

    Args:
        model: [N] log pi(z | x), nats, summed over the trace's tokens.
        posterior: [N] log q(z | x, y'), nats, summed over the same tokens.
        lengths: [N] tokens of each trace, at least 1.
        share: the part of each group that was drawn from the model, in [0, 1].
        length_normalised: divide by the length (published) or not (exact).

    Returns:
        [N] nats, or nats per token if ``length_normalised``.

    Raises:
        ValueError: a share that is no probability, or a trace without tokens.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share={share} is not a probability: choose it in [0, 1]")
    if (lengths < 1).any():
        raise ValueError(f"a trace has {int(lengths.min())} tokens: leave empty traces out")
    difference = model - proposal_log_prob(model, posterior, share)
    return difference / lengths if length_normalised else difference


def proposal_log_prob(model: Tensor, posterior: Tensor, share: float) -> Tensor:
    """[N] log(share * pi + (1 - share) * q), from log pi and log q, both [N]."""
    if share == 0.0:
        return posterior
    if share == 1.0:
        return model
    return torch.logaddexp(model + math.log(share), posterior + math.log1p(-share))
