"""From the samples of a mode to its numbers: pass@k, maj@k, lengths, and what became of every sample."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from rich import box
from rich.table import Table

from verl_softthink.evaluation.bootstrap import bootstrap_mean
from verl_softthink.evaluation.majority import Vote, majority_at_k, voter
from verl_softthink.evaluation.pass_at_k import pass_at_k
from verl_softthink.evaluation.samples import Sample


def summarise(
    samples: Sequence[Sample], *, problems: int, per_problem: int, ks: Sequence[int], reward: str, seed: int
) -> dict:
    """The numbers of one mode, as they stand in the JSON.

    Args:
        samples: every sample of the mode.
        problems, per_problem: how many there must be.
        ks: wanted values of k; those above ``per_problem`` are left out.
        reward: what graded them, one of ``scoring.REWARDS`` but ``auto``.
        seed: of the bootstrap.

    Raises:
        ValueError: when a sample is missing, or there is one too many.
    """
    vote = voter(reward)
    votes: dict[int, list[Vote]] = defaultdict(list)
    for sample in samples:
        votes[sample.problem].append((vote(sample.response.text), sample.correct))
    if len(votes) != problems or {len(cast) for cast in votes.values()} != {per_problem}:
        raise ValueError(
            f"{len(samples)} samples of {len(votes)} problems: there must be {per_problem} of each of {problems}; "
            "remove the --out directory and start again"
        )
    right = [sum(correct for _, correct in cast) for cast in votes.values()]
    wanted = [k for k in sorted(set(ks)) if k <= per_problem]
    responses = [sample.response for sample in samples]
    return {
        "pass_at_k": _curve(wanted, lambda k: [pass_at_k(per_problem, count, k) for count in right], seed),
        "majority_at_k": _curve(wanted, lambda k: [majority_at_k(cast, k) for cast in votes.values()], seed),
        "problems": problems,
        "samples_per_problem": per_problem,
        "samples": len(samples),
        "correct": sum(right),
        "finish": dict(Counter(response.finish for response in responses)),
        "end_of_thinking": dict(Counter(response.end_reason for response in responses)),
        "answer_cut": sum(response.answer_cut for response in responses),
        "mean_tokens": sum(response.tokens for response in responses) / len(responses),
        "mean_thinking_tokens": sum(response.thinking for response in responses) / len(responses),
    }


def _curve(ks: Sequence[int], estimates: Callable[[int], list[float]], seed: int) -> dict[str, list]:
    """k, and the mean over the problems' estimates with the ends of its interval."""
    intervals = [bootstrap_mean(np.array(estimates(k)), seed=seed) for k in ks]
    ends = {name: [getattr(interval, name) for interval in intervals] for name in ("mean", "low", "high")}
    return {"k": list(ks), **ends}


def table(modes: dict[str, dict], title: str) -> Table:
    """The summaries as a table of 80 columns, in per cent; the JSON has more, intervals of maj@k among it.

    ``ended`` is the share of samples whose thinking ended by itself, ``cut off`` of those without an end of sequence.
    """
    largest = max(max(summary["pass_at_k"]["k"]) for summary in modes.values())
    # Eighty characters leave one blank between the columns.
    out = Table(title=title, box=box.SIMPLE, padding=0)
    out.add_column("mode", no_wrap=True)
    votes = largest > 1
    shares = ("pass@1", f"pass@{largest}", f"maj@{largest}") if votes else ("pass@1",)
    for name in (*shares, "tokens", "ended", "cut off"):
        out.add_column(name, justify="right", no_wrap=True)
    for mode, summary in modes.items():
        cells = [_cell(summary["pass_at_k"], 1)]
        if votes:
            cells += [_cell(summary["pass_at_k"], largest), _cell(summary["majority_at_k"], largest).split()[0]]
        ended = summary["end_of_thinking"].get("marker", 0) / summary["samples"]
        cut = 1 - summary["finish"].get("stop", 0) / summary["samples"]
        out.add_row(
            mode,
            *cells,
            f"{summary['mean_tokens']:.1f}",
            f"{ended:.0%}",
            f"{cut:.0%}",
        )
    return out


def _cell(curve: dict[str, list], k: int) -> str:
    if k not in curve["k"]:
        return "-"
    at = curve["k"].index(k)
    mean, low, high = (100 * curve[name][at] for name in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.0f}, {high:.0f}]"
