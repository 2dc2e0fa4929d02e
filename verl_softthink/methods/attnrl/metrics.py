"""Metrics of tree branching, under ``softthink/attnrl/``, and how to read them."""

from collections.abc import Sequence

import torch

from verl_softthink.methods.attnrl.plan import mean_influence
from verl_softthink.methods.attnrl.samples import PromptSamples, Sample
from verl_softthink.methods.attnrl.tree import InitialResponse, has_signal, root_value
from verl_softthink.report.metric_doc import MetricDoc

PREFIX = "softthink/attnrl/"
#: Logged by the stage: how far the policy has moved since the initial responses were scored.
LOG_PROB_LAG = f"{PREFIX}log_prob_lag"


def tree_metrics(
    prompts: Sequence[PromptSamples], trees: Sequence[list[InitialResponse]], trained: Sequence[int]
) -> dict[str, float]:
    """Metrics of one step.

    Args:
        prompts: all prompts that were sampled, with their continuations.
        trees: the tree of each.
        trained: number of training rows of each.
    """
    branched = [response for tree in trees for response in tree if response.continuations]
    initial = [[float(scored.correct) for scored in prompt.scored] for prompt in prompts]
    lengths = [sample.sampled for prompt in prompts for sample in prompt.samples]
    own = [
        sample.sampled - branch.cut
        for prompt in prompts
        for branch, sample in zip(prompt.branches, prompt.continuations, strict=True)
    ]
    kept = [tree for tree, rows in zip(trees, trained, strict=True) if rows]
    in_rows = sum(_row_tokens(tree) for tree in kept)
    distinct = sum(_distinct_tokens(tree) for tree in kept)
    metrics = {
        "prompts": len(prompts),
        "useful_prompts": _mean([has_signal(tree) for tree in trees]),
        "useful_prompts/initial": _mean([0 < sum(values) < len(values) for values in initial]),
        "value/mean": _mean([root_value(tree) for tree in trees]),
        "value/initial": _mean([sum(values) / len(values) for values in initial]),
        "leaves/mean": _mean([sum(len(response.leaf_values) for response in tree) for tree in trees]),
        "branched_responses": _mean([bool(response.continuations) for tree in trees for response in tree]),
        "branch_points/mean": _mean([len({c.cut for c in response.continuations}) for response in branched]),
        "trained_responses": sum(trained),
        "dropped/attention": sum(_dropped_by_attention(prompt) for prompt in prompts),
        "dropped/no_signal": sum(
            not rows and bool(prompt.branches) for prompt, rows in zip(prompts, trained, strict=True)
        ),
        "aborted": sum(len(prompt.aborted()) for prompt in prompts),
        "tokens/generated": sum(lengths) + sum(own),
        "tokens/reused": sum(branch.cut for prompt in prompts for branch in prompt.branches),
        "tokens/cached": sum(_cached(sample) for prompt in prompts for sample in prompt.continuations),
        "tokens/trained": in_rows,
        "tokens/distinct": distinct,
        "influence/mean": _mean([mean_influence(prompt.scored) for prompt in prompts]),
    }
    return {PREFIX + name: float(value) for name, value in metrics.items()}


def _row_tokens(tree: list[InitialResponse]) -> int:
    """Response tokens of all training rows."""
    return sum(
        response.length + sum(c.cut + c.length for c in response.continuations)
        for response in tree
        if response.continuations
    )


def _distinct_tokens(tree: list[InitialResponse]) -> int:
    """Response tokens of the branched responses' trees, each counted once."""
    branched = [response for response in tree if response.continuations]
    return sum(response.length + sum(c.length for c in response.continuations) for response in branched)


def _cached(sample: Sample) -> int:
    """Tokens of the request's prompt and prefix found in vLLM's cache, in whole blocks; 0 if vLLM does not say."""
    return sample.row["extra_fields"].get("num_cached_tokens") or 0


def _dropped_by_attention(prompt: PromptSamples) -> bool:
    """Whether the attention filter dropped the prompt: all its responses are right, and one could be branched."""
    divisible = any(len(scored.steps) > 1 for scored in prompt.scored)
    return not prompt.branches and divisible and all(scored.correct for scored in prompt.scored)


def _mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float32).mean()) if values else 0.0


ROWS = (
    MetricDoc(
        "attnrl/prompts",
        "prompts sampled in the step",
        "data.train_batch_size at first; drifting slowly with an adaptive batch",
        "growing without bound: ever fewer prompts have a signal; set softthink.attnrl.largest_batch, or harder data",
    ),
    MetricDoc(
        "attnrl/useful_prompts*",
        "share of prompts whose leaves, or whose initial responses (initial), are neither all right nor all wrong",
        "0.3 to 0.9, and above that of the initial responses",
        "near 0: the data is too easy or too hard for the model; equal to initial: continuations end as their initial "
        "responses did, raise softthink.attnrl.continuations or lower softthink.attnrl.spacing",
    ),
    MetricDoc(
        "attnrl/value/*",
        "mean over prompts of the share of right leaves (mean) and of right initial responses (initial)",
        "rising; initial is the mean reward of an ordinary group",
        "mean far below initial: the model errs more after the cuts; look at the trees on the trace page",
    ),
    MetricDoc(
        "attnrl/leaves/mean",
        "initial responses and continuations per prompt",
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
        "distinct cuts per branched response",
        "softthink.attnrl.points",
        "lower: responses have fewer steps than points",
    ),
    MetricDoc(
        "attnrl/trained_responses",
        "training rows, one per leaf",
        "about softthink.attnrl.wanted_responses with an adaptive batch",
        "0: no prompt had a signal in this step, and the update was of the KL term alone",
    ),
    MetricDoc(
        "attnrl/dropped/*",
        "prompts dropped: by the attention filter (attention), because their leaves agree (no_signal)",
        "falling with useful_prompts rising",
        "most prompts: as useful_prompts",
    ),
    MetricDoc(
        "attnrl/aborted",
        "continuations that the rollout aborted; no tree includes them",
        "0",
        "above 0: something aborted requests, look at the servers' logs; extra_fields.softthink_aborted says why",
    ),
    MetricDoc(
        "attnrl/tokens/*",
        "response tokens: sampled in the step (generated), reused as prefixes (reused), in training rows (trained), in "
        "their trees (distinct); tokens of prompts and prefixes found in vLLM's cache (cached)",
        "trained / distinct 1.4 to 1.7 with the paper's shape",
        "equal: cuts are near the start; much larger: cuts are near the end, consider "
        "softthink.attnrl.shared_prefix=dedup",
    ),
    MetricDoc(
        "attnrl/influence/mean",
        "mean forward context influence over the steps of all initial responses",
        "above 0, stable",
        "0: responses have fewer than six steps, so nothing is measured; check softthink.attnrl.separators",
    ),
    MetricDoc(
        "attnrl/log_prob_lag",
        "mean absolute change of log-probs since the initial responses were scored, nats per token, over their trained "
        "tokens",
        "below 1e-5; with off_policy=1 below 0.1",
        "higher with off_policy=1: one update moves the policy far, lower the learning rate; without: the scoring pass "
        "and the old-log-prob pass differ, check micro-batches and precision",
    ),
)
