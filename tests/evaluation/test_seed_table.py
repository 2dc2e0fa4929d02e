"""The table over seeds."""

import json
import statistics

import pytest

from verl_softthink.evaluation.seed_table import markdown, read_results, write_table


def _evaluation(path, greedy, one, four):
    curves = {"hard_greedy": ([1], [greedy]), "soft_sample": ([1, 4], [one, four])}
    modes = {m: {"pass_at_k": {"k": k, "mean": v, "low": v, "high": v}} for m, (k, v) in curves.items()}
    path.write_text(json.dumps({"modes": modes, "versions": {}}))
    return path


def test_mean_and_deviation_over_seeds(tmp_path):
    seeds = [(0.5, 0.25, 0.75), (0.6, 0.35, 0.85), (0.7, 0.30, 1.0)]
    pairs = [("soft", _evaluation(tmp_path / f"{n}.json", *values)) for n, values in enumerate(seeds)]
    pairs += [("none", _evaluation(tmp_path / "none.json", 0.4, 0.2, 0.5))]
    rows = write_table(pairs, tmp_path / "out").splitlines()
    assert rows[0] == "| trained | seeds | hard greedy | soft sample @1 | soft sample @4 |"
    expected = [[100 * seed[column] for seed in seeds] for column in range(3)]
    cells = " | ".join(f"{statistics.fmean(v):.1f} ± {statistics.stdev(v):.1f}" for v in expected)
    assert rows[2] == f"| soft | 3 | {cells} |"
    assert rows[3] == "| none | 1 | 40.0 | 20.0 | 50.0 |"
    assert (tmp_path / "out" / "table.md").read_text().splitlines() == rows
    assert json.loads((tmp_path / "out" / "table.json").read_text())["none"][0]["soft sample @4"] == 0.5


def test_methods_may_be_evaluated_in_modes_of_their_own(tmp_path):
    path = _evaluation(tmp_path / "a.json", 0.5, 0.2, 0.7)
    values = json.loads(path.read_text())
    del values["modes"]["hard_greedy"]
    votes = {"k": [1, 4], "mean": [0.2, 0.6], "low": [0.2, 0.6], "high": [0.2, 0.6]}
    values["modes"]["soft_sample"]["majority_at_k"] = votes
    other = tmp_path / "b.json"
    other.write_text(json.dumps(values))
    rows = markdown(read_results([("soft", path), ("voted", other)])).splitlines()
    assert rows[0] == "| trained | seeds | hard greedy | soft sample @1 | soft sample @4 | soft sample maj@4 |"
    assert rows[2:] == ["| soft | 1 | 50.0 | 20.0 | 70.0 | - |", "| voted | 1 | - | 20.0 | 70.0 | 60.0 |"]


def test_seeds_that_were_evaluated_otherwise_are_named(tmp_path):
    results = read_results([("soft", _evaluation(tmp_path / "a.json", 0.5, 0.2, 0.7))])
    results["soft"].append({"hard greedy": 0.5})
    with pytest.raises(ValueError, match="soft: its evaluations differ"):
        markdown(results)
