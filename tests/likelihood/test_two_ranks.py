"""Two data-parallel ranks of FSDP 2 take the steps of one process."""

import pytest
import torch
from support.ranks import run_on_ranks

from .two_ranks import STEPS, run, train


def test_two_ranks_take_the_steps_of_one(model_path, tmp_path):
    path = model_path("qwen2")
    results = tmp_path / "results.pt"
    run_on_ranks(run, tmp_path / "store", path, results)
    two = torch.load(results)
    for packed in (False, True):
        one = train(0, 1, path, packed)
        assert len(one) == STEPS
        for (loss, norm), (loss_of_two, norm_of_two) in zip(one, two[packed], strict=True):
            assert loss_of_two == pytest.approx(loss, rel=1e-5, abs=1e-6)
            assert norm_of_two == pytest.approx(norm, rel=1e-5)
