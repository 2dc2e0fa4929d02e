"""Evaluations of several runs as one table: a row per method, a column per mode, mean and spread over seeds."""

import statistics
from collections.abc import Iterable
from pathlib import Path

from verl_softthink.files.writing import write_json, write_text
from verl_softthink.report.pass_at_k import read_evaluation


def read_results(pairs: Iterable[tuple[str, Path]]) -> dict[str, list[dict[str, dict[int, float]]]]:
    """Label -> one record per seed: mode -> k -> pass@k.

    Args:
        pairs: label and ``eval.json`` of each run; runs that share a label are seeds of one method.
    """
    results: dict[str, list[dict[str, dict[int, float]]]] = {}
    for label, path in pairs:
        modes = read_evaluation(path).modes
        record = {name: dict(zip(mode.pass_at_k.k, mode.pass_at_k.mean, strict=True)) for name, mode in modes.items()}
        results.setdefault(label, []).append(record)
    return results


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over seeds; the latter is 0 for one seed."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def markdown(results: dict[str, list[dict[str, dict[int, float]]]]) -> str:
    """The table as Markdown, in per cent; sampling modes show pass@1 and pass@k of the largest k they have.

    Raises:
        ValueError: when the runs do not have the same modes and values of k.
    """
    records = [record for seeds in results.values() for record in seeds]
    shape = {mode: sorted(curve) for mode, curve in records[0].items()}
    for label, seeds in results.items():
        for record in seeds:
            if {mode: sorted(curve) for mode, curve in record.items()} != shape:
                raise ValueError(f"{label}: its evaluation has other modes or values of k; evaluate all runs alike")
    columns = [(mode, k) for mode, ks in shape.items() for k in dict.fromkeys((ks[0], ks[-1]))]
    titles = [f"{mode.replace('_', ' ')}{f' @{k}' if len(shape[mode]) > 1 else ''}" for mode, k in columns]
    lines = [f"| trained | seeds | {' | '.join(titles)} |", f"|---|{'---|' * (len(columns) + 1)}"]
    for label, seeds in results.items():
        cells = [_cell([record[mode][k] for record in seeds]) for mode, k in columns]
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
