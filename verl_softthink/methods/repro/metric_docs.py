"""Metrics of RePro, in the order of the printed table. J is the mean log-likelihood of the right answer's tokens."""

from verl_softthink.report.metric_doc import MetricDoc

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
        "near 1: the model hardly writes softthink.repro.delimiters; compare with segments/mean",
    ),
    MetricDoc(
        "repro/segments/mean",
        "delimited segments of a response, scored or not",
        "above softthink.repro.segments, so that entropy chooses",
        "near 1: name delimiters that this model writes",
    ),
    MetricDoc(
        "repro/surrogate/prompt",
        "J in nats at the bare prompt, mean over scored responses",
        "well below surrogate/end",
        "near 0: the answers can be guessed, so thinking earns nothing; take harder problems",
    ),
    MetricDoc(
        "repro/surrogate/end",
        "J in nats after all of the thinking, mean over scored responses",
        "rising towards 0",
        "far below 0 although rewards are high: softthink.repro.lead_in and .answer do not write the answer as the "
        "model does",
    ),
    MetricDoc(
        "repro/surrogate/rise",
        "surrogate/end minus surrogate/prompt, in nats",
        "above 0, rising with the share of right responses (wrong ones are sure of something else)",
        "below 0 for long: as surrogate/end",
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
        "below 0.5: likelihoods fall while the model thinks; as surrogate/end",
    ),
    MetricDoc(
        "repro/negative_share",
        "share of pieces that lower the score",
        "0.2 to 0.6",
        "near 0 or 1: the rewards tell pieces apart badly; lower softthink.repro.stability_weight or segments",
    ),
    MetricDoc(
        "repro/reward/std",
        "standard deviation of the rewards of all pieces",
        "0.05 to 0.4",
        "near 0: every piece earns the same; as surrogate/prompt",
    ),
    MetricDoc(
        "repro/advantage/abs_mean",
        "mean over response tokens of |softthink.repro.alpha x process advantage|",
        "a tenth to a half of what critic/advantages spans",
        "above it: the process drowns the outcome, lower alpha; near 0: raise it",
    ),
    MetricDoc(
        "repro/thinking_length/mean",
        "tokens before the end-of-thinking marker, of all responses",
        "falling slowly: idle pieces cost",
        "collapsing within a few steps: lower alpha or the learning rate",
    ),
    MetricDoc(
        "repro/backtracking_share",
        "share of segments that begin with one of softthink.repro.backtracking",
        "falling slowly",
        "exactly 0: no such token in the vocabulary; name words that this model turns back with",
    ),
    MetricDoc(
        "repro/scoring_seconds",
        "time of scoring answers, summed over ranks; part of timing_s/old_log_prob",
        "below half of timing_s/old_log_prob",
        "more: fewer softthink.repro.segments",
    ),
)
