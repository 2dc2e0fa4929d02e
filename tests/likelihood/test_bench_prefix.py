"""The benchmark of shared prefixes runs at its small size and counts what the rows share."""

import torch

from verl_softthink.bench.shared_prefix import FULL, LEAVES, QUICK, make_rows, run


def test_the_quick_benchmark_runs():
    result = run(QUICK)
    assert result["bench"] == "prefix" and result["ratio"] > 0
    assert [len(seconds) for seconds in result["raw"]["seconds"].values()] == [QUICK.repeats] * 2
    rows = make_rows(QUICK)
    distinct = {(*row[: end + 1].tolist(),) for row in rows for end in range(len(row))}
    assert result["token_ratio"] == sum(map(len, rows)) / len(distinct)


def test_the_rows_are_trees_of_the_papers_shape():
    rows = make_rows(FULL)
    assert len(rows) == LEAVES * FULL.sequences and {len(row) for row in rows} == {FULL.tokens}
    for first in range(0, len(rows), LEAVES):
        trunk, *branches = rows[first : first + LEAVES]
        shared = [int((branch != trunk).nonzero()[0]) for branch in branches]
        assert all(0.2 < cut / FULL.tokens < 0.8 for cut in shared)
        assert not any(torch.equal(branch, trunk) for branch in branches)
