"""The likelihood of one response, written out: no verl, no laws, no packing, one sequence at a time in float64.

Input embeddings are summed by hand and handed to Hugging Face's model as ``inputs_embeds``; densities are the
formulas of SofT-GRPO (arXiv 2511.06411, Eq. 12), of the Concrete distribution (Maddison et al. 2017) and of
SofT-GRPO's released code, term by term.
"""

import math
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from .models import EMBEDDING_SCALE
from .samples import COLLAPSED, SOFT_POSITION, Sample


def load(path: Path):
    """The model in float64, with gradients."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, attn_implementation="eager")


def response_log_probs(model, sample: Sample, values: dict, answer_temperature: float) -> Tensor:
    """[T] log-density or log-probability of every response position, differentiable in the model's parameters."""
    table = model.get_input_embeddings().weight
    scale = EMBEDDING_SCALE.get(model.config.model_type, 1.0)
    rows = [table[token] for token in sample.prompt]
    for position, (token, kind) in enumerate(zip(sample.response, sample.kinds, strict=True)):
        if kind != SOFT_POSITION:
            rows.append(table[token])
            continue
        mixture = sum(w * table[i] for i, w in zip(*_mixture(sample, position, values), strict=True))
        rows.append(mixture.detach() if values["detach_inputs"] else mixture)
    logits = model(inputs_embeds=scale * torch.stack(rows)[None], use_cache=False).logits[0]

    scores = []
    for position, (token, kind) in enumerate(zip(sample.response, sample.kinds, strict=True)):
        row = logits[len(sample.prompt) + position - 1]
        if kind in (SOFT_POSITION, COLLAPSED):
            scores.append(_drawn(row / values["temperature"], sample, position, kind, values))
        else:
            scores.append((row / answer_temperature).log_softmax(-1)[token])
    return torch.stack(scores)


def _candidates(sample: Sample, position: int) -> tuple[list[int], list[float]]:
    pairs = zip(sample.ids[position].tolist(), sample.values[position].tolist(), strict=True)
    ids, actions = zip(*[(i, v) for i, v in pairs if i >= 0], strict=True)
    return list(ids), list(actions)


def _mixture(sample: Sample, position: int, values: dict) -> tuple[list[int], list[float]]:
    ids, actions = _candidates(sample, position)
    if values["law"] == "discrete":
        return ids, [1.0]
    exponentials = [math.exp((a - max(actions)) / values["parameters"]["tau"]) for a in actions]
    return ids, [e / sum(exponentials) for e in exponentials]


def _drawn(scaled: Tensor, sample: Sample, position: int, kind: int, values: dict) -> Tensor:
    ids, scores = _candidates(sample, position)
    whole = values["normalise_over"] == "vocabulary"
    normaliser = scaled.exp().sum().log() if whole else scaled[ids].exp().sum().log()
    log_probs = [scaled[i] - normaliser for i in ids]
    if values["law"] == "discrete":
        return log_probs[0]
    noise_scale, tau = values["parameters"].get("noise_scale", 1.0), values["parameters"]["tau"]
    if kind == COLLAPSED:
        shown = ids.index(sample.response[position])
        powers = [(log_prob / noise_scale).exp() for log_prob in log_probs]
        return (powers[shown] / sum(powers)).log()
    return {"gumbel": _gumbel, "concrete": _concrete, "gumbel_reference": _released_code}[values["law"]](
        scores, log_probs, tau, noise_scale
    )


def _gumbel(scores: list[float], log_probs: list[Tensor], tau: float, noise_scale: float) -> Tensor:
    z = [(score - log_prob) / noise_scale for score, log_prob in zip(scores, log_probs, strict=True)]
    return sum(-each - (-each).exp() - math.log(noise_scale) for each in z)


def _concrete(scores: list[float], log_probs: list[Tensor], tau: float, noise_scale: float) -> Tensor:
    count, temperature = len(scores), tau / noise_scale
    peak = max(scores) / tau
    normaliser = peak + math.log(sum(math.exp(score / tau - peak) for score in scores))
    log_weights = [score / tau - normaliser for score in scores]
    locations = [log_prob / noise_scale for log_prob in log_probs]
    pairs = list(zip(locations, log_weights, strict=True))
    total = sum((a - temperature * w).exp() for a, w in pairs)
    density_of_weights = (
        math.lgamma(count)
        + (count - 1) * math.log(temperature)
        + sum(a - (temperature + 1) * w for a, w in pairs)
        - count * total.log()
    )
    # The same draw in the coordinates of the score differences: |dy / d differences| = prod_i y_i / tau^(K-1).
    return density_of_weights + sum(log_weights) - (count - 1) * math.log(tau)


def _released_code(scores: list[float], log_probs: list[Tensor], tau: float, noise_scale: float) -> Tensor:
    terms = []
    for score, log_prob in zip(scores, log_probs, strict=True):
        location = (log_prob.exp() + 1e-6).log()
        difference = (score - location).clamp(-1.5, 3.0)
        if location > -3.0:
            terms.append(-difference - (-difference).exp())
    return sum(terms) / len(terms)
