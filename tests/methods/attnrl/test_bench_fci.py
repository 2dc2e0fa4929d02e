"""The benchmark runs at its small size and measures what it says."""

import json

from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.methods.attnrl import bench as fci


def test_the_quick_benchmark_runs(tmp_path):
    path = tmp_path / "fci.json"
    result = CliRunner().invoke(app, ["bench", "fci", "--quick", "--repeats", "2", "--json", str(path)])
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    assert record["bench"] == "fci" and record["settings"]["shape"] == "quick"
    assert len(record["raw"]["seconds"]["fci"]) == 2
    assert min(record["ratio"], record["memory_ratio"], record["eager_ratio"], record["eager_memory_ratio"]) > 0
    assert min(record["ratio"], record["memory_ratio"], record["eager_ratio"]) > 0
    # Eager attention keeps a matrix a layer and head, which the other passes never have.
    sizes = fci.SHAPES["quick"]
    matrices = sizes.layers * sizes.heads * sizes.tokens**2 * 4
    assert record["raw"]["bytes"]["eager"] > matrices
