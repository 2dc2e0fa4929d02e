"""The answer's share of an importance weight, log pi(Y | x, z): three estimators, by name in ``ESTIMATORS``.

    accuracy        mean verdict of m answers that the model gave after z      unbiased for any set of right answers
    geometric_mean  exp( mean_t log pi(y*_t | x, z, y*_<t) )                   of one reference answer, per token
    product         prod_t pi(y*_t | x, z, y*_<t)                              of one reference answer; high variance

(Acc, GML and L of arXiv 2509.22637.) All are in [0, 1]; zero is kept as -inf, so that a trace without a right answer
has exactly no weight.
"""

from torch import Tensor

ESTIMATORS = ("accuracy", "geometric_mean", "product")


def log_accuracy(verdicts: Tensor) -> Tensor:
    """Log of the mean verdict.

    Args:
        verdicts: [N] or [N, m] scores in [0, 1] of the answers sampled after each trace.

    Returns:
        [N]; -inf where every verdict is 0.

    Raises:
        ValueError: a score outside [0, 1], which is no estimate of a probability.
    """
    if ((verdicts < 0) | (verdicts > 1)).any():
        raise ValueError(
            f"scores in [{verdicts.min():g}, {verdicts.max():g}] are no probabilities of a right answer: use a reward "
            "between 0 and 1"
        )
    return (verdicts.mean(dim=-1) if verdicts.dim() == 2 else verdicts).log()


def log_likelihood(log_probs: Tensor, mask: Tensor, *, length_normalised: bool) -> Tensor:
    """Log-likelihood of each trace's reference answer, per token (geometric mean) or whole (product).

    Args:
        log_probs: [N, T] nats.
        mask: [N, T] bool, the answer's tokens.
        length_normalised: geometric mean if true, product if not.

    Returns:
        [N]; -inf for a trace after which no answer follows (it never ended).
    """
    total = log_probs.masked_fill(~mask, 0.0).sum(dim=-1)
    count = mask.sum(dim=-1)
    value = total / count.clamp(min=1) if length_normalised else total
    return value.masked_fill(count == 0, float("-inf"))
