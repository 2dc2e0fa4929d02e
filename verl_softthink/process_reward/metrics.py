"""Metrics of RePro, under ``softthink/repro/`` in verl's own trackers.

scored                  share of responses with at least one piece. Low: no ground truth, or thinking never begins.
pieces/mean             pieces of a scored response; at most softthink.repro.segments + 1.
surrogate/prompt, /end  J in nats per answer token, at the bare prompt and after thinking.
surrogate/rise          their difference: above 0 where reasoning makes the answer likelier.
magnitude, stability    of the last point of each scored response.
negative_share          share of pieces that lower the score. Near 0 or 1: the rewards tell pieces apart badly.
reward/std              of the rewards of pieces.
advantage/abs_mean      mean over response tokens of |alpha x process advantage|; compare with critic/advantages.
thinking_length/mean    tokens before the end-of-thinking marker, of all responses.
segments/mean           delimited segments of all responses, scored or not.
backtracking_share      share of segments that begin with one of softthink.repro.backtracking.
scoring_seconds         time of scoring, summed over ranks; part of timing_s/old_log_prob.
"""

import torch
from torch import Tensor

from verl_softthink.process_reward.results import ProcessRewards

PREFIX = "softthink/repro/"


def reward_metrics(results: ProcessRewards, advantage: Tensor, mask: Tensor) -> dict[str, float]:
    """Metrics of one batch.

    Args:
        results: of N responses.
        advantage: [N, T] what was added to the advantages.
        mask: [N, T] response tokens.
    """
    scored = results.counts > 1
    metrics = {
        "scored": float(scored.float().mean()),
        "advantage/abs_mean": float((advantage.abs() * mask).sum() / mask.sum().clamp(min=1)),
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
