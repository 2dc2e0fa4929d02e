"""The reference rollout's arithmetic for the laws beyond Gumbel's: scalar loops over the formulas, float64."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.laws.noise import uniform
from verl_softthink.rollout.request import SoftRequest

#: Proposals per Gamma variate, and counters per token: part of the noise's definition.
GAMMA_ROUNDS, GAMMA_LANES = 16, 33


@dataclass
class ReferencePosition:
    """What the law does at one position, in float64.

    Attributes:
        ids: ids of the action, most likely first unless the law has an order of its own.
        values: the action's values.
        weights: mixture weights.
        log_prob: log-density of the action.
        shown_log_prob: what scores the position where only the shown token is fed.
        shown: the token that the text shows.
        fed: [H] the drawn embedding; None where the mixture is fed.
    """

    ids: list[int]
    values: list[float]
    weights: list[float]
    log_prob: float
    shown_log_prob: float
    shown: int
    fed: Tensor | None = None


def _uniforms(request: SoftRequest, index: int, lanes: list[int]) -> list[float]:
    return uniform(torch.tensor(request.seed), torch.tensor(index), torch.tensor(lanes)).tolist()


def _normals(request: SoftRequest, index: int, lanes: list[int]) -> Tensor:
    return torch.special.ndtri(torch.tensor(_uniforms(request, index, lanes), dtype=torch.float64))


def multiplex(probs: Tensor, request: SoftRequest, index: int) -> ReferencePosition:
    """Independent draws by inversion of the cumulative distribution."""
    by_probability = request.parameters["weighting"] == "probability"
    draws = []
    for target in _uniforms(request, index, list(range(request.parameters["draws"]))):
        mass = 0.0
        for token, probability in enumerate(probs.tolist()):
            mass += probability
            if mass > target:
                draws.append(token)
                break
    shares = {token: float(probs[token]) if by_probability else draws.count(token) for token in draws}
    total = sum(shares.values())
    weights = [shares[token] / total / draws.count(token) for token in draws]
    values = [math.log(float(probs[token]) / draws.count(token)) if by_probability else 0.0 for token in draws]
    log_prob = sum(math.log(float(probs[token])) for token in draws)
    shown = max(draws, key=lambda token: (shares[token], -draws.index(token)))
    return ReferencePosition(draws, values, weights, log_prob, log_prob, shown)


def dirichlet(kept: list[int], log_probs: list[float], request: SoftRequest, index: int) -> ReferencePosition:
    """Normalised Gamma variates, one proposal after another."""
    shapes = [request.parameters["concentration"] * math.exp(value) for value in log_probs]
    log_gammas = [
        _log_gamma(shape, _uniforms(request, index, [token * GAMMA_LANES + lane for lane in range(GAMMA_LANES)]))
        for token, shape in zip(kept, shapes, strict=True)
    ]
    log_weights = torch.tensor(log_gammas, dtype=torch.float64).log_softmax(-1).tolist()
    # The density of the weights times their product: that of the log-weights' differences.
    density = math.lgamma(sum(shapes))
    for shape, log_weight in zip(shapes, log_weights, strict=True):
        density += -math.lgamma(shape) + (shape - 1) * log_weight + log_weight
    weights = [math.exp(value) for value in log_weights]
    shown = kept[max(range(len(kept)), key=lambda slot: log_weights[slot])]
    return ReferencePosition(kept, log_weights, weights, density, density, shown)


def _log_gamma(shape: float, uniforms: list[float]) -> float:
    d = shape + 2 / 3
    accepted = d
    for first, second in zip(uniforms[0:-1:2], uniforms[1:-1:2], strict=True):
        x = float(torch.special.ndtri(torch.tensor(first, dtype=torch.float64)))
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v > 0 and math.log(second) < x * x / 2 + d - d * v + d * math.log(v):
            accepted = d * v
            break
    return math.log(accepted) + math.log(uniforms[-1]) / shape


def mixture_of_inputs(
    kept: list[int], log_probs: list[float], noise: list[float], request: SoftRequest
) -> ReferencePosition:
    """The sampled token first, blended with the candidates."""
    winner = max(range(len(kept)), key=lambda slot: log_probs[slot] + noise[slot])
    entropy = -sum(math.exp(value) * value for value in log_probs)
    share = entropy / math.log(len(kept)) if len(kept) > 1 else 0.0
    beta = request.parameters["beta"]
    weights = [share * math.exp(value) / (beta + 1) for value in log_probs]
    weights[winner] += (beta + 1 - share) / (beta + 1)
    order = [winner, *(slot for slot in range(len(kept)) if slot != winner)]
    ids, weights = [kept[slot] for slot in order], [weights[slot] for slot in order]
    return ReferencePosition(ids, weights, weights, log_probs[winner], log_probs[winner], ids[0])


def gaussian(
    kept: list[int], log_probs: list[float], probs: Tensor, request: SoftRequest, index: int, table: Tensor
) -> ReferencePosition:
    """Mean over the candidates or the vocabulary, and noise of gamma RMS on every coordinate; a token of its own."""
    table = table.double()
    weights = [math.exp(value) for value in log_probs]
    if request.normalise_over == "vocabulary":
        mean = probs @ table
    else:
        mean = sum(weight * table[token] for weight, token in zip(weights, kept, strict=True))
    if request.parameters["covariance"] == "candidates":
        fed, density = noise_among_candidates(kept, weights, request, index, table)
    else:
        sigma = request.parameters["gamma"] * float(table.square().mean().sqrt())
        noise = _normals(request, index, list(range(table.shape[1])))
        fed, density = mean + sigma * noise, -float(noise.square().sum()) / 2 if sigma > 0 else 0.0
    if request.parameters["shown"] == "likeliest":
        return ReferencePosition(kept, log_probs, weights, density, 0.0, kept[0], fed)
    gumbels = [-math.log(-math.log(uniform)) for uniform in _uniforms(request, index, [-1 - token for token in kept])]
    winner = max(range(len(kept)), key=lambda slot: log_probs[slot] + gumbels[slot])
    order = [winner, *range(1, winner), 0, *range(winner + 1, len(kept))] if winner else list(range(len(kept)))
    of_token = math.log(weights[winner] / sum(weights))
    ids, values, weights = ([each[slot] for slot in order] for each in (kept, log_probs, weights))
    return ReferencePosition(ids, values, weights, density + of_token, of_token, ids[0], fed)


def noise_among_candidates(
    kept: list[int], weights: list[float], request: SoftRequest, index: int, table: Tensor
) -> tuple[Tensor, float]:
    """The mean with noise of covariance gamma^2 (diag p - p p^T) on its weights, and the density of that noise."""
    roots = torch.tensor(weights, dtype=torch.float64).sqrt()
    roots = roots / roots.norm()
    noise, gamma = _normals(request, index, kept), request.parameters["gamma"]
    off_mean = noise - roots * float(roots @ noise)
    drawn = roots**2 + gamma * roots * off_mean
    return drawn @ table[torch.tensor(kept)], -float(off_mean.square().sum()) / 2 if gamma > 0 else 0.0
