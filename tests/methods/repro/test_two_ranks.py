"""Two data-parallel ranks of FSDP 2, of which one has nothing to score: no rank waits for ever, and nothing changes."""

import pytest
import torch
from support.ranks import run_on_ranks

from .two_ranks import run, score


@pytest.mark.timeout(300)
def test_two_ranks_score_as_one(model_path, tmp_path):
    path = model_path("qwen2")
    run_on_ranks(run, tmp_path / "store", path, tmp_path / "results")
    two = [row for rank in range(2) for row in torch.load(tmp_path / f"results.{rank}")]
    for ours, expected in zip(two, score(0, 1, path), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    assert [len(row) for row in two] == [7, 7, 1, 1]
