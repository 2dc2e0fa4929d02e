"""From audited problems to the numbers of an audit, each with its interval over problems, the verdict and the table."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from rich import box
from rich.table import Table

from verl_softthink.evaluation.audit.arms import ARMS, AS_THEY_ARE
from verl_softthink.evaluation.audit.outcomes import AuditedProblem
from verl_softthink.evaluation.audit.run import SAMPLED
from verl_softthink.evaluation.audit.verdict import verdict
from verl_softthink.evaluation.bootstrap import Interval, bootstrap_ratio, bootstrap_share


def summarise(audited: Sequence[AuditedProblem], seed: int) -> dict:
    """All numbers, as they stand in the JSON.

    Accuracies and losses are means over problems; a loss is paired, the accuracy with thoughts as they are minus the
    arm's on the same thoughts. Numbers of mixtures are means over positions.

    Args:
        audited: at least one problem.
        seed: of the bootstrap.
    """
    shares = {arm: np.array([one.right[arm] / one.thoughts for one in audited]) for arm in (SAMPLED, *ARMS)}
    losses = {
        arm: bootstrap_share(shares[AS_THEY_ARE] - shares[arm], least=-1.0, seed=seed)
        for arm in ARMS
        if arm != AS_THEY_ARE
    }
    thoughts = sum(one.thoughts for one in audited)
    answered = sum(one.answered for one in audited)
    same = sum(one.same for one in audited) / answered if answered else None
    mixtures = _mixtures(audited, seed)
    several = mixtures["several"]
    concluded = verdict(losses, problems=len(audited), same_answers=same, several=several and several.mean)
    return {
        "verdict": {"mixtures": concluded.mixtures, "text": concluded.text},
        "problems": len(audited),
        "thoughts": thoughts,
        "unanswered": (thoughts - answered) / thoughts,
        "same_answers": same,
        "mixtures": {name: None if interval is None else asdict(interval) for name, interval in mixtures.items()},
        "accuracy": {arm: asdict(bootstrap_share(values, seed=seed)) for arm, values in shares.items()},
        "loss": {arm: asdict(loss) for arm, loss in losses.items()},
        "by_problem": [asdict(one) for one in audited],
    }


def _mixtures(audited: Sequence[AuditedProblem], seed: int) -> dict[str, Interval | None]:
    """Share of soft positions; of those, effective tokens, and the shares with several and with one candidate."""
    counts = [one.mixtures for one in audited]
    soft = np.array([one.soft for one in counts])
    numbers: dict[str, Interval | None] = {
        "soft_share": bootstrap_ratio(soft, np.array([one.positions for one in counts]), seed=seed)
    }
    of_soft = {"effective_tokens": "effective", "several": "several", "single_candidate": "single"}
    for name, attribute in of_soft.items():
        totals = np.array([getattr(one, attribute) for one in counts])
        numbers[name] = bootstrap_ratio(totals, soft, seed=seed) if soft.any() else None
    return numbers


def table(summary: dict, title: str) -> Table:
    """Accuracies and losses in per cent and points, with 95 % intervals."""
    out = Table(title=title, box=box.SIMPLE)
    out.add_column("thoughts", no_wrap=True)
    for name in ("right", "lost"):
        out.add_column(name, justify="right", no_wrap=True)
    for arm, accuracy in summary["accuracy"].items():
        loss = summary["loss"].get(arm)
        out.add_row(arm.replace("_", " "), _cell(accuracy), "" if loss is None else _cell(loss))
    return out


def sentences(summary: dict) -> list[str]:
    """What is said below the table, the verdict last."""
    mixtures = summary["mixtures"]
    said = [f"{summary['thoughts']} thoughts of {summary['problems']} problems"]
    if summary["unanswered"]:
        said[0] += f", of which {summary['unanswered']:.1%} were never answered"
    said.append(f"soft positions: {_cell(mixtures['soft_share'])} % of all")
    if mixtures["effective_tokens"] is not None:
        effective = "{mean:.2f} [{low:.2f}, {high:.2f}]".format(**mixtures["effective_tokens"])
        said.append(
            f"effective tokens: {effective}; two or more at {_cell(mixtures['several'])} %, a single candidate at "
            f"{_cell(mixtures['single_candidate'])} % of soft positions"
        )
    if summary["same_answers"] is not None:
        share = f"{summary['same_answers']:.1%}"
        said.append(f"answers that stay the same when thoughts are handed back as they are: {share}")
    return [*said, f"Verdict: {summary['verdict']['text']}"]


def _cell(interval: dict) -> str:
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * interval[name] for name in ("mean", "low", "high")))
