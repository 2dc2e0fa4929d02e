"""Metrics of RePro, under ``softthink/repro/`` in verl's own trackers, and how to read them."""

import torch
from torch import Tensor

from verl_softthink.methods.repro.rewards import ProcessRewards
from verl_softthink.report.metric_doc import MetricDoc

PREFIX = "softthink/repro/"


def reward_metrics(results: ProcessRewards, advantage: Tensor, mask: Tensor, seconds: Tensor) -> dict[str, float]:
    """Metrics of process rewards and advantages.

    Args:
        results: of N responses.
        advantage: [N, T] process advantages times alpha, as added to the outcome's.
        mask: [N, T] response tokens.
        seconds: of scoring each response, any shape.
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
    """Metrics of thinking regions and segments.

    Args:
        lengths: tokens of each thinking region.
        first_tokens: per response the first token of every segment.
        backtracks: [V] bool, first tokens of segments that backtrack.
    """
    firsts = torch.cat(first_tokens)
    return {
        f"{PREFIX}thinking_length/mean": sum(lengths) / len(lengths),
        f"{PREFIX}segments/mean": len(firsts) / len(lengths),
        f"{PREFIX}backtracking_share": float(backtracks[firsts].float().mean()) if len(firsts) else 0.0,
    }


ROWS = (
    MetricDoc(
        "repro/scored",
        "share of responses with at least one piece of thinking and a right answer to score",
        "1, or the share of the data that has a ground truth",
        "lower: rows without reward_model.ground_truth, or responses that begin with softthink.phase.end_of_thinking",
    ),
    MetricDoc(
        "repro/pieces/mean",
        "pieces of a scored response, each with a reward of its own; at most softthink.repro.segments + 1",
        "5 to segments + 1",
        "near 1: responses hardly contain softthink.repro.delimiters; compare with segments/mean",
    ),
    MetricDoc(
        "repro/segments/mean",
        "delimited segments of a response, scored or not",
        "above softthink.repro.segments, so that entropy chooses",
        "near 1: list delimiters that this model writes",
    ),
    MetricDoc(
        "repro/surrogate/prompt",
        "J in nats after the bare prompt, mean over scored responses",
        "well below surrogate/end",
        "near 0: the answers can be guessed, so thinking earns nothing; take harder problems",
    ),
    MetricDoc(
        "repro/surrogate/end",
        "J in nats after all of the thinking, mean over scored responses",
        "rising towards 0",
        "far below 0 although rewards are high: softthink.repro.lead_in and .answer do not format the answer as the "
        "model does",
    ),
    MetricDoc(
        "repro/surrogate/rise",
        "surrogate/end minus surrogate/prompt, in nats",
        "above 0, rising with the share of right responses (wrong ones raise another answer)",
        "below 0 over many steps: as surrogate/end",
    ),
    MetricDoc(
        "repro/magnitude",
        "1 - tanh(J_end / J_prompt), mean over scored responses; 0.24 where thinking changes nothing",
        "0.3 to 0.9, rising",
        "as surrogate/end",
    ),
    MetricDoc(
        "repro/stability",
        "(1 + Kendall's tau-a of J over the points) / 2, mean over scored responses; 0.5 is no trend",
        "0.5 to 0.8",
        "below 0.5: the likelihood falls during thinking; as surrogate/end",
    ),
    MetricDoc(
        "repro/negative_share",
        "share of pieces that lower the score",
        "0.2 to 0.6",
        "near 0 or 1: the rewards hardly distinguish pieces; lower softthink.repro.stability_weight or segments",
    ),
    MetricDoc(
        "repro/reward/std",
        "standard deviation of the rewards of all pieces",
        "0.05 to 0.4",
        "near 0: all pieces earn the same; as surrogate/prompt",
    ),
    MetricDoc(
        "repro/advantage/abs_mean",
        "mean over response tokens of |softthink.repro.alpha x process advantage|",
        "a tenth to a half of the range of critic/advantages",
        "above: the process advantage outweighs the outcome's, lower alpha; near 0: raise it",
    ),
    MetricDoc(
        "repro/thinking_length/mean",
        "tokens before the end-of-thinking marker, of all responses",
        "falling slowly, as pieces that add nothing earn less than the average",
        "collapsing within a few steps: lower alpha or the learning rate",
    ),
    MetricDoc(
        "repro/backtracking_share",
        "share of segments that begin with one of softthink.repro.backtracking",
        "falling slowly",
        "exactly 0: no such token in the vocabulary; list words with which this model backtracks",
    ),
    MetricDoc(
        "repro/scoring_seconds",
        "seconds of scoring answers, summed over ranks; part of timing_s/old_log_prob",
        "below half of timing_s/old_log_prob",
        "more: fewer softthink.repro.segments",
    ),
)
