"""Metrics of tree branching, under ``softthink/attnrl/``; ``report/metric_docs.py`` says how to read them."""

from collections.abc import Sequence

import torch

from verl_softthink.methods.attnrl.plan import mean_influence
from verl_softthink.methods.attnrl.samples import PromptSamples, Sample, distinct_tokens, useful
from verl_softthink.methods.attnrl.tree import InitialResponse, root_value

PREFIX = "softthink/attnrl/"
#: Of the stage: how far the policy has moved since the initial responses were scored.
LOG_PROB_LAG = f"{PREFIX}log_prob_lag"


def tree_metrics(
    prompts: Sequence[PromptSamples], trees: Sequence[list[InitialResponse]], trained: Sequence[int]
) -> dict[str, float]:
    """Metrics of one step.

    Args:
        prompts: all prompts that were sampled, with their continuations.
        trees: of each.
        trained: rows of each that are trained.
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
    distinct = sum(distinct_tokens(tree) for tree in kept)
    metrics = {
        "prompts": len(prompts),
        "useful_prompts": _mean([useful(tree) for tree in trees]),
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
    """Response tokens of one row per leaf."""
    return sum(
        response.length + sum(c.cut + c.length for c in response.continuations)
        for response in tree
        if response.continuations
    )


def _cached(sample: Sample) -> int:
    """Tokens of the request's prompt and prefix found in vLLM's cache, in whole blocks; 0 where it does not say."""
    return sample.row["extra_fields"].get("num_cached_tokens") or 0


def _dropped_by_attention(prompt: PromptSamples) -> bool:
    """Whether the attention filter left the prompt out: all its responses are right, and one could be branched."""
    divisible = any(len(scored.steps) > 1 for scored in prompt.scored)
    return not prompt.branches and divisible and all(scored.correct for scored in prompt.scored)


def _mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float32).mean()) if values else 0.0
