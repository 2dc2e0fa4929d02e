"""A plain Hugging Face loop for soft rollouts: slow, obvious, and independent of the code that it checks.

Nothing of ``laws`` or of the vLLM path is used but the noise, whose definition is the contract (a pure function of
seed, output index and token id). One sequence, one position at a time, the whole prefix recomputed, float32 model and
float64 arithmetic.
"""

import math

import torch
from torch import Tensor

from oracles.rollout_laws import ReferencePosition, dirichlet, gaussian, mixture_of_inputs, multiplex
from verl_softthink.laws.noise import gumbel
from verl_softthink.rollout.request import SoftRequest


def draw(logits: Tensor, request: SoftRequest, index: int, table: Tensor) -> ReferencePosition:
    """One action of the request's law.

    Args:
        logits: [V] of output position ``index``.
        table: [V, H] the input embeddings.
    """
    probs = (logits.double() / request.temperature).softmax(-1)
    order = probs.argsort(descending=True).tolist()
    kept = order[: request.top_k] if request.top_k else order
    kept = _nucleus(kept, probs, request.top_p)
    kept = [token for token in kept if probs[token] >= request.min_p * probs[kept[0]]]
    kept = kept[: request.max_topk]
    total = 1.0 if request.normalise_over == "vocabulary" else sum(float(probs[token]) for token in kept)
    log_probs = [math.log(float(probs[token]) / total) for token in kept]
    noise = gumbel(torch.tensor([request.seed]), torch.tensor([index]), torch.tensor([kept]))[0].tolist()
    match request.law:
        case "deterministic":
            return ReferencePosition(kept, log_probs, [math.exp(value) for value in log_probs], 0.0, 0.0, kept[0])
        case "discrete":
            return _discrete(probs, request, index)
        case "multiplex":
            return multiplex(probs, request, index)
        case "dirichlet":
            return dirichlet(kept, log_probs, request, index)
        case "mixture_of_inputs":
            return mixture_of_inputs(kept, log_probs, noise, request)
        case "gaussian":
            return gaussian(kept, log_probs, probs, request, index, table)
        case _:
            return _gumbel_position(kept, log_probs, noise, request)


def _discrete(probs: Tensor, request: SoftRequest, index: int) -> ReferencePosition:
    everything = torch.arange(len(probs))[None]
    noise = gumbel(torch.tensor([request.seed]), torch.tensor([index]), everything)[0]
    winner = int((probs.log() + noise).argmax())
    log_prob = math.log(float(probs[winner]))
    return ReferencePosition([winner], [0.0], [1.0], log_prob, log_prob, winner)


def _nucleus(kept: list[int], probs: Tensor, top_p: float) -> list[int]:
    if top_p >= 1:
        return kept
    total, mass, nucleus = sum(float(probs[token]) for token in kept), 0.0, []
    for token in kept:
        if mass >= top_p:
            break
        nucleus.append(token)
        mass += float(probs[token]) / total
    return nucleus


def _gumbel_position(
    kept: list[int], log_probs: list[float], noise: list[float], request: SoftRequest
) -> ReferencePosition:
    scale, tau, count = request.parameters["noise_scale"], request.parameters["tau"], len(kept)
    scores = [log_prob + scale * eps for log_prob, eps in zip(log_probs, noise, strict=True)]
    log_weights = torch.tensor([score / tau for score in scores], dtype=torch.float64).log_softmax(-1).tolist()
    if request.law == "gumbel":
        density = sum(-eps - math.exp(-eps) - math.log(scale) for eps in noise)
    elif request.law == "concrete":
        # The density of the K-1 score differences; tests/laws holds it against the density of the weights.
        gaps = [(log_prob - score) / scale for log_prob, score in zip(log_probs, scores, strict=True)]
        density = (
            math.lgamma(count)
            - (count - 1) * math.log(scale)
            + sum(gaps)
            - count * float(torch.tensor(gaps, dtype=torch.float64).logsumexp(-1))
        )
    else:
        raise ValueError(
            f"the reference does not know the law {request.law!r}; give it a position in oracles.rollout_laws"
        )
    winner = max(range(count), key=lambda slot: scores[slot])
    tempered = torch.tensor([lp / scale for lp in log_probs], dtype=torch.float64).log_softmax(-1)
    weights = [math.exp(w) for w in log_weights]
    return ReferencePosition(kept, scores, weights, density, float(tempered[winner]), kept[winner])


def fed_embedding(position: ReferencePosition, table: Tensor) -> Tensor:
    """[H] what a soft position feeds."""
    if position.fed is not None:
        return position.fed.to(table.dtype)
    weights = torch.tensor(position.weights, dtype=table.dtype)
    return (weights[:, None] * table[torch.tensor(position.ids)]).sum(0)


@torch.no_grad()
def teacher_forced_logits(model: torch.nn.Module, prompt: list[int], inputs: Tensor) -> Tensor:
    """Logits [T, V] that predict each of T response positions whose own input embeddings are ``inputs`` [T, H].

    Inputs are in the units of the table: what the embedding module multiplies its rows by, as Gemma's, is done here.
    """
    module = model.get_input_embeddings()
    embeddings = torch.cat((module.weight[torch.tensor(prompt)], inputs)) * getattr(module, "embed_scale", 1.0)
    return model(inputs_embeds=embeddings[None]).logits[0, len(prompt) - 1 : -1]


@torch.no_grad()
def rollout(
    model: torch.nn.Module, prompt: list[int], request: SoftRequest, max_tokens: int
) -> tuple[list[int], list[ReferencePosition | None], list[bool]]:
    """Free-running greedy-answer rollout: tokens, the law's positions (None elsewhere), and which were fed soft.

    Answer tokens are the argmax, so that the loop has no randomness but the law's. Cold stops are not modelled here.
    """
    table = model.get_input_embeddings().weight
    embeddings = table[torch.tensor(prompt)]
    tokens: list[int] = []
    positions: list[ReferencePosition | None] = []
    fed_soft: list[bool] = []
    thinking, pending = True, []
    for index in range(max_tokens):
        logits = model(inputs_embeds=embeddings[None]).logits[0, -1]
        position = None
        if thinking and index >= request.budget:
            marker = list(request.marker)
            begun = max(n for n in range(len(marker)) if tokens[len(tokens) - n :] == marker[:n])
            thinking, pending = False, marker[begun:]
        if thinking:
            position = draw(logits, request, index, table)
            tokens.append(position.shown)
            if tuple(tokens[-len(request.marker) :]) == request.marker:
                thinking = False
        elif pending:
            tokens.append(pending.pop(0))
        else:
            tokens.append(int(logits.argmax()))
        soft = position is not None and thinking
        fed = table[torch.tensor([tokens[-1]])]
        if soft:
            fed = fed_embedding(position, table)[None]
        embeddings = torch.cat((embeddings, fed))
        positions.append(position)
        fed_soft.append(soft)
    return tokens, positions, fed_soft
