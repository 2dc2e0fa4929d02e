"""Metrics of RePro, under ``softthink/repro/`` in verl's own trackers; ``metric_docs.py`` says how to read them."""

import torch
from torch import Tensor

from verl_softthink.methods.repro.results import ProcessRewards

PREFIX = "softthink/repro/"


def reward_metrics(results: ProcessRewards, advantage: Tensor, mask: Tensor, seconds: Tensor) -> dict[str, float]:
    """Metrics of one batch.

    Args:
        results: of N responses.
        advantage: [N, T] what was added to the advantages.
        mask: [N, T] response tokens.
        seconds: that scoring took on each rank, any shape.
    """
    scored = results.counts > 1
    metrics = {
        "scored": float(scored.float().mean()),
        "advantage/abs_mean": float((advantage.abs() * mask).sum() / mask.sum().clamp(min=1)),
        "scoring_seconds": float(seconds.sum()),
    }
    if scored.any():
        last = results.last[scored]
        surrogate = results.surrogate[scored]
        start, end = surrogate[:, 0], surrogate.gather(1, last)[:, 0]
        rewards = results.rewards[results.exists]
        metrics |= {
            "pieces/mean": float((results.counts[scored] - 1).float().mean()),
            "surrogate/prompt": float(start.mean()),
            "surrogate/end": float(end.mean()),
            "surrogate/rise": float((end - start).mean()),
            "magnitude": float(results.scores.magnitude[scored].gather(1, last).mean()),
            "stability": float(results.scores.stability[scored].gather(1, last).mean()),
            "negative_share": float((rewards < 0).float().mean()),
            "reward/std": float(rewards.std()) if len(rewards) > 1 else 0.0,
        }
    return {PREFIX + name: value for name, value in metrics.items()}


def text_metrics(lengths: list[int], first_tokens: list[Tensor], backtracks: Tensor) -> dict[str, float]:
    """Metrics of how responses are written.

    Args:
        lengths: tokens of each thinking region.
        first_tokens: per response the first token of every segment.
        backtracks: [V] bool, which tokens turn back.
    """
    firsts = torch.cat(first_tokens)
    return {
        f"{PREFIX}thinking_length/mean": sum(lengths) / len(lengths),
        f"{PREFIX}segments/mean": len(firsts) / len(lengths),
        f"{PREFIX}backtracking_share": float(backtracks[firsts].float().mean()) if len(firsts) else 0.0,
    }
