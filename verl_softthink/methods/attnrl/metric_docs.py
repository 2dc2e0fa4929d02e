"""Metrics of tree branching, in the order of the printed table."""

from verl_softthink.report.metric_doc import MetricDoc

ROWS = (
    MetricDoc(
        "attnrl/prompts",
        "prompts sampled in the step",
        "data.train_batch_size at first; slowly moving with an adaptive batch",
        "growing without end: fewer and fewer prompts teach; set softthink.attnrl.largest_batch, or harder data",
    ),
    MetricDoc(
        "attnrl/useful_prompts*",
        "share of prompts whose leaves are neither all right nor all wrong; of the initial responses alone (initial)",
        "0.3 to 0.9, and above that of the initial responses",
        "near 0: the data is too easy or too hard for the model; equal to initial: branches do not change "
        "results, raise softthink.attnrl.continuations or cut earlier",
    ),
    MetricDoc(
        "attnrl/value/*",
        "mean over prompts of the share of right leaves (mean) and of right initial responses (initial)",
        "rising; initial is what an ordinary group would score",
        "mean far below initial: cuts are made where the model then errs more; look at the trees on the trace page",
    ),
    MetricDoc(
        "attnrl/leaves/mean",
        "initial responses and continuations of a prompt",
        "between rollout.n and rollout.n x (1 + points x continuations)",
        "near rollout.n: responses have too few steps; check softthink.attnrl.separators and spacing",
    ),
    MetricDoc(
        "attnrl/branched_responses",
        "share of initial responses that were branched",
        "0.4 to 1",
        "near 0: as leaves/mean, or the attention filter drops most prompts",
    ),
    MetricDoc(
        "attnrl/branch_points/mean",
        "different cuts of a branched response",
        "softthink.attnrl.points",
        "below: responses have fewer steps than points",
    ),
    MetricDoc(
        "attnrl/trained_responses",
        "rows of leaves that are trained",
        "about softthink.attnrl.wanted_responses with an adaptive batch",
        "0: no prompt taught anything in this step, and the update was of the KL term alone",
    ),
    MetricDoc(
        "attnrl/dropped/*",
        "prompts left out: by the attention filter (attention), because their leaves agree (no_signal)",
        "falling with useful_prompts rising",
        "most prompts: as useful_prompts",
    ),
    MetricDoc(
        "attnrl/aborted",
        "continuations that the rollout cut short; they are in no tree",
        "0",
        "above 0: requests were aborted from outside, look at the servers' logs; "
        "extra_fields.softthink_aborted says why",
    ),
    MetricDoc(
        "attnrl/tokens/*",
        "response tokens: sampled in the step (generated), taken over from prefixes (reused), of prompts and prefixes "
        "found in vLLM's cache (cached), in trained rows (trained), in their trees (distinct)",
        "trained / distinct 1.4 to 1.7 with the paper's shape",
        "equal: cuts are at the very beginning; much larger: cuts are at the end, consider shared_prefix=dedup",
    ),
    MetricDoc(
        "attnrl/influence/mean",
        "forward context influence of the steps of all initial responses",
        "above 0, stable",
        "0: responses have fewer than six steps, so that nothing is measured; check softthink.attnrl.separators",
    ),
    MetricDoc(
        "attnrl/log_prob_lag",
        "mean change of log-probs since the initial responses were scored, nats a token, over their trained tokens",
        "below 1e-5; with off_policy=1 below 0.1",
        "more with off_policy=1: one update moves the policy far, lower the learning rate; without: scoring "
        "and old-log-prob pass differ, look at micro-batches and precision",
    ),
)
