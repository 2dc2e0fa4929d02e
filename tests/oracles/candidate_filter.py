"""The Soft Thinking filter (arXiv 2505.15778) in its published order, one row at a time.

softmax(logits / T); top-k, renormalise; top-p, renormalise; min-p (threshold min_p * max p), renormalise;
the max_topk largest, renormalise.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax


@dataclass(frozen=True)
class FilterOutcome:
    ids: list[int]  # kept candidates, most probable first
    log_probs: np.ndarray  # [len(ids)], renormalised over the kept candidates
    margin: float  # distance of the closest keep-or-drop decision from its threshold; small = rounding may flip it


def soft_thinking_filter(
    logits: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float, max_topk: int
) -> FilterOutcome:
    """Filter one row of logits [V]; ``top_k = 0``, ``top_p = 1`` and ``min_p = 0`` switch a stage off."""
    tempered = np.asarray(logits, dtype=np.float64) / temperature
    log_p = dict(enumerate(log_softmax(tempered).tolist()))
    ranked = sorted(log_p, key=lambda token: -log_p[token])
    margin = np.inf

    if top_k and top_k < len(ranked):
        margin = min(margin, log_p[ranked[top_k - 1]] - log_p[ranked[top_k]])
        ranked = ranked[:top_k]
    log_p = _renormalised(log_p, ranked)

    if top_p < 1.0:
        kept, mass_before = [], 0.0
        for token in ranked:  # the smallest prefix whose mass reaches top_p
            margin = min(margin, abs(mass_before - top_p))
            if mass_before < top_p:
                kept.append(token)
            mass_before += float(np.exp(log_p[token]))
        ranked = kept
    log_p = _renormalised(log_p, ranked)

    if min_p > 0.0:
        threshold = np.log(min_p) + log_p[ranked[0]]
        # The most probable token is kept whatever the rounding (min_p = 1 compares it with itself).
        margin = min([margin, *(abs(log_p[token] - threshold) for token in ranked[1:])])
        ranked = [ranked[0], *(token for token in ranked[1:] if log_p[token] >= threshold)]
    log_p = _renormalised(log_p, ranked)

    if max_topk < len(ranked):
        margin = min(margin, log_p[ranked[max_topk - 1]] - log_p[ranked[max_topk]])
        ranked = ranked[:max_topk]
    log_p = _renormalised(log_p, ranked)
    return FilterOutcome(ids=ranked, log_probs=np.array([log_p[token] for token in ranked]), margin=float(margin))


def _renormalised(log_p: dict[int, float], kept: list[int]) -> dict[int, float]:
    normalised = log_softmax(np.array([log_p[token] for token in kept]))
    return dict(zip(kept, normalised.tolist(), strict=True))
