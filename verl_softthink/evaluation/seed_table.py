"""Evaluations of several runs as one table: a row per method, a column per mode, mean and spread over seeds."""

import statistics
from collections.abc import Iterable
from pathlib import Path

from verl_softthink.files.writing import write_json, write_text
from verl_softthink.report.pass_at_k import Mode, PassAtK, read_evaluation

#: What one evaluation found: title of a column to a share.
Record = dict[str, float]


def read_results(pairs: Iterable[tuple[str, Path]]) -> dict[str, list[Record]]:
    """Label -> one record per seed: a column's title -> share, in the order of the columns.

    Args:
        pairs: label and ``eval.json`` of each run; runs that share a label are seeds of one method.
    """
    results: dict[str, list[Record]] = {}
    for label, path in pairs:
        modes = read_evaluation(path).modes
        record = {title: share for name, mode in modes.items() for title, share in _columns(name, mode).items()}
        results.setdefault(label, []).append(record)
    return results


def _columns(name: str, mode: Mode) -> Record:
    """pass@1; where there are more samples, pass@k and maj@k of the largest k as well."""
    title, ks = name.replace("_", " "), mode.pass_at_k.k
    if len(ks) == 1:
        return {title: mode.pass_at_k.mean[0]}
    columns = {f"{title} @{ks[at]}": mode.pass_at_k.mean[at] for at in (0, -1)}
    if mode.majority_at_k is not None:
        columns |= _majority(title, mode.majority_at_k)
    return columns


def _majority(title: str, curve: PassAtK) -> Record:
    return {f"{title} maj@{curve.k[-1]}": curve.mean[-1]}


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over seeds; the latter is 0 for one seed."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def markdown(results: dict[str, list[Record]]) -> str:
    """The table as Markdown, in per cent; a dash where a method was not evaluated in a mode.

    Raises:
        ValueError: when runs of one method do not have the same modes and values of k.
    """
    titles: dict[str, None] = {}
    for label, seeds in results.items():
        if any(record.keys() != seeds[0].keys() for record in seeds):
            raise ValueError(f"{label}: its evaluations differ in modes or values of k; evaluate all of its runs alike")
        titles |= dict.fromkeys(seeds[0])
    lines = [f"| trained | seeds | {' | '.join(titles)} |", f"|---|{'---|' * (len(titles) + 1)}"]
    for label, seeds in results.items():
        cells = [_cell([record[title] for record in seeds]) if title in seeds[0] else "-" for title in titles]
        lines.append(f"| {label} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    mean, deviation = spread([100 * value for value in values])
    return f"{mean:.1f} ± {deviation:.1f}" if len(values) > 1 else f"{mean:.1f}"


def write_table(pairs: Iterable[tuple[str, Path]], out: Path) -> str:
    """Write ``table.md`` and ``table.json`` into a directory, and return the Markdown."""
    results = read_results(pairs)
    text = markdown(results)
    write_text(text, out / "table.md")
    write_json(results, out / "table.json")
    return text
