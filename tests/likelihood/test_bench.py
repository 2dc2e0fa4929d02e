"""The benchmark runs at its small size, on batches that differ in nothing but the trace."""

import torch

from verl_softthink.bench.likelihood import QUICK, run
from verl_softthink.bench.training_pass import make_batch
from verl_softthink.likelihood.fields import IDS, SETTINGS, SOFT, TRACE_FIELDS

from .samples import settings


def test_the_quick_benchmark_runs():
    result = run(QUICK, law="concrete")
    assert result["bench"] == "likelihood"
    assert [len(result["raw"][name]) for name in ("soft", "discrete")] == [QUICK.repeats] * 2
    assert result["ratio"] > 0
    assert result["settings"]["law"] == "concrete"


def test_both_batches_have_the_same_tokens_and_only_one_a_trace():
    soft, discrete = make_batch(QUICK, settings("gumbel")), make_batch(QUICK, None)
    assert set(soft.keys()) - set(discrete.keys()) == {*TRACE_FIELDS, SETTINGS}
    assert torch.equal(soft["input_ids"].values(), discrete["input_ids"].values())
    assert soft[SOFT].values().all()
    ids = soft[IDS].values().sort(-1).values
    assert (ids.diff(dim=-1) > 0).all()
    assert ids.min() >= 0 and ids.max() < QUICK.vocabulary
