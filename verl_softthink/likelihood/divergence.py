"""What can be compared between two policies at a soft position, beside the ratio of the densities.

Name a metric after what it compares:

- ``density_k3``: verl's ``low_var_kl`` of the engine's ``log_probs``. At soft positions it is the k3 estimator on the
  *density of the action*, unbiased but noisy, and no divergence of token distributions.
- ``gumbel_kl``: the exact divergence of the two laws at the position, below; no sampling noise.
"""

from torch import Tensor

from verl_softthink.laws.base import masked_sum


def gumbel_kl(log_probs: Tensor, reference: Tensor, mask: Tensor, noise_scale: Tensor) -> Tensor:
    """KL(policy | reference) between the Gumbel laws of the perturbed scores at N positions.

        KL = sum_i (D_i - 1 + exp(-D_i)),   D_i = (l_i - l_i^ref) / s

    from E[z] of both terms cancelling and E[exp(-z)] = 1 for a standard Gumbel z. It bounds the divergence of the
    mixtures themselves from above: the weights forget the common shift of the scores.

    Args:
        log_probs: [N, K] candidates' log-probabilities under the policy.
        reference: [N, K] the same candidates' under the reference.
        mask: [N, K] bool, which slots hold a candidate; unused slots may hold anything.
        noise_scale: [N] scale of the Gumbel noise, > 0.

    Returns:
        [N] nats, at least 0, differentiable.
    """
    difference = (log_probs.where(mask, 0.0) - reference.where(mask, 0.0)) / noise_scale[:, None]
    return masked_sum(difference - 1 + (-difference).exp(), mask)
