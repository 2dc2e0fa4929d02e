"""Gaussian noise among the candidates: with the covariance of drawing one of them, in place of a sphere's.

Draw:   w = p + s (r * eps - p <r, eps>),   r = sqrt(p),   eps ~ N(0, I_K),   fed: h~ = sum_i w_i E_i
Score:  log p(w) = -sum_i (w_i - p_i(theta))^2 / (2 s^2 p_i)

over K frozen candidates, p renormalised among them at the draw. E w = p and Cov w = s^2 (diag p - p p^T), so that h~
has the mean and s^2 times the covariance of a candidate's embedding that is drawn by p: s = 1 is as far from the mean
as ordinary decoding, s = 1 / sqrt(n) is the normal limit of n such draws fed as one mixture (``multiplex``). There is
no noise where p is certain. Weights sum to 1 and may be negative.

The density is that on the plane of weights that sum to 1, up to a constant, around the mean of the model that scores
and with the covariance of the draw: the p_i that it divides by are held, like s. Its gradient at the model that drew,

    sum_i (w_i - p_i) d log p_i / s^2,

is that of a drawn token with w in place of one-hot weights, and unbiased for the mean with the noise held. As a
gradient of the law, whose covariance moves with p, it is biased by what is held: in the median over random rewards of
three candidates a third of the gradient's length at s = 1 and an eighth at s = 0.5 (a test).

Of isotropic noise on H coordinates the model can steer the K - 1 that its candidates span, and needs so little noise in
each that the score of a position, of variance |d h|^2 / sigma^2, is many times a token's; the other coordinates change
the reward alone.
"""

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from verl_softthink.laws.action import Action
from verl_softthink.laws.noise import normal
from verl_softthink.laws.parameters import LawParameters, Parameter

COVARIANCE = Parameter(
    "covariance",
    "of the noise: isotropic over the coordinates of the embedding, or that of a candidate's embedding drawn by its "
    "probability, which spans only what the model can steer (needs fed=seed and the mean over the candidates)",
    default="isotropic",
    dtype=torch.int64,
    choices=("isotropic", "candidates"),
)


def is_among_candidates(parameters: LawParameters) -> Tensor:
    """[N] bool, rows whose noise has the candidates' covariance."""
    return parameters[COVARIANCE.name] == COVARIANCE.number("candidates")


def drawn_weights(
    action: Action, seed: Int64[Tensor, " rows"], index: Int64[Tensor, " rows"], parameters: LawParameters
) -> Float[Tensor, "rows slots"]:
    """[N, K] weights of the candidates in what is fed: the mean's, and noisy in rows that have their noise there.

    The same arithmetic at the draw, in every replay and in training.

    Args:
        action: [N, K], with its scale.
        seed, index: [N] int64, of each row's request and position.
        parameters: [N] parameters.
    """
    weights = mean_weights(action)
    noisy = perturbed_weights(weights, action.scale, weight_noise(seed, index, action.ids))
    return torch.where(is_among_candidates(parameters)[:, None], noisy, weights)


def mean_weights(action: Action) -> Float[Tensor, "rows slots"]:
    """[N, K] weights of the candidates in the mean over them; a row without candidates mixes nothing."""
    return torch.where(action.mask, action.values.masked_fill(~action.mask, -torch.inf).softmax(-1), 0.0)


def weight_noise(
    seed: Int64[Tensor, " rows"], index: Int64[Tensor, " rows"], ids: Int64[Tensor, "rows slots"]
) -> Float32[Tensor, "rows slots"]:
    """[N, K] standard normal noise of each candidate: a function of (seed [N], index [N], token id)."""
    return normal(seed, index, ids)


def perturbed_weights(
    weights: Float[Tensor, "rows slots"], scale: Float[Tensor, " rows"], noise: Float[Tensor, "rows slots"]
) -> Float[Tensor, "rows slots"]:
    """The draw w: weights p [N, K], 0 in unused slots; scale s [N]; noise [N, K]."""
    roots = weights.sqrt()
    along = (roots * noise).sum(-1, keepdim=True)
    return weights + scale[:, None] * (roots * noise - weights * along)


def weights_log_density(
    drawn: Float[Tensor, "rows slots"],
    weights: Float[Tensor, "rows slots"],
    scored: Float[Tensor, "rows slots"],
    scale: Float[Tensor, " rows"],
) -> Float[Tensor, " rows"]:
    """[N] log-density of the draw, without its constant; 0 where scale [N] is 0.

    Args:
        drawn: [N, K] w.
        weights: [N, K] p of the draw, whose slots of weight 0 do not count.
        scored: [N, K] p(theta), differentiable.
        scale: [N] s.
    """
    counts = (weights > 0) & (scale > 0)[:, None]
    # Divided before it is squared: p may be as small as float32 has numbers.
    deviations = (drawn - scored) / torch.where(counts, weights.sqrt() * scale[:, None], 1.0)
    return -torch.where(counts, deviations, 0.0).square().sum(-1) / 2
