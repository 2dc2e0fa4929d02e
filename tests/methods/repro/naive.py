"""The mean log-likelihood of an answer after a prefix, written out: one sequence, one forward pass, in float64."""

import torch
from likelihood.models import EMBEDDING_SCALE
from likelihood.reference import _mixture
from likelihood.samples import SOFT_POSITION, Sample


def surrogate(model, sample: Sample, cut: int, lead_in: list[int], answer: list[int], temperature: float, values=None):
    """J of ``answer`` after the prompt, ``cut`` response tokens (mixtures with ``values``) and the lead-in."""
    table = model.get_input_embeddings().weight
    rows = [table[token] for token in sample.prompt]
    for position in range(cut):
        if values is not None and sample.kinds[position] == SOFT_POSITION:
            pairs = zip(*_mixture(sample, position, values), strict=True)
            rows.append(sum(weight * table[token] for token, weight in pairs))
        else:
            rows.append(table[sample.response[position]])
    rows += [table[token] for token in (*lead_in, *answer)]
    scale = EMBEDDING_SCALE.get(model.config.model_type, 1.0)
    with torch.no_grad():
        logits = model(inputs_embeds=scale * torch.stack(rows)[None], use_cache=False).logits[0]
    first = len(rows) - len(answer)
    scores = [(logits[first + i - 1] / temperature).log_softmax(-1)[token] for i, token in enumerate(answer)]
    return float(sum(scores) / len(scores))


def next_entropy(model, sample: Sample, cut: int, temperature: float) -> float:
    """Entropy of the token that follows ``cut`` discrete response tokens."""
    ids = torch.tensor([sample.prompt + sample.response[:cut]])
    with torch.no_grad():
        probabilities = (model(ids, use_cache=False).logits[0, -1] / temperature).softmax(-1)
    return float(-(probabilities * probabilities.log()).sum())
