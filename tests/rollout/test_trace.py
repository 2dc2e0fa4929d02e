"""Packed rows: what goes in comes out, bit for bit."""

import numpy as np
import pytest
import torch

from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.rollout.phase.machine import REASON_BUDGET, REASON_NONE
from verl_softthink.trace import pack_rows, row_width, unpack_rows


def _columns(length=7, width=3):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([1, 1, 1, 0, 0, 0, 0], dtype=torch.bool)
    ids = torch.randint(0, 1 << 20, (length, width), generator=generator)
    ids[1, 2] = NO_CANDIDATE
    return {
        "drawn": drawn,
        "soft": torch.tensor([1, 1, 0, 0, 0, 0, 0], dtype=torch.bool),
        "forced": torch.tensor([0, 0, 0, 1, 1, 0, 0], dtype=torch.bool),
        "discrete": torch.tensor([0, 0, 0, 0, 0, 1, 0], dtype=torch.bool),
        "cut": torch.tensor([0, 0, 0, 0, 0, 0, 1], dtype=torch.bool),
        "reason": torch.tensor([REASON_NONE] * 3 + [REASON_BUDGET] + [REASON_NONE] * 3, dtype=torch.int8),
        "log_prob": torch.randn(length, generator=generator),
        "entropy": torch.full((length,), torch.nan),
        "scale": torch.randn(length, generator=generator).abs(),
        "ids": ids,
        "values": torch.randn(length, width, generator=generator),
    }


def test_rows_round_trip():
    columns = _columns()
    rows = pack_rows(**columns)
    assert rows.shape == (7, row_width(3))
    assert rows.dtype == torch.int32
    trace = unpack_rows(rows.numpy())
    for name in ("drawn", "soft", "forced", "discrete", "log_prob", "scale", "values"):
        assert torch.equal(getattr(trace, name), columns[name]), name
    assert torch.equal(trace.ids.long(), columns["ids"])
    assert trace.entropy.isnan().all()
    assert trace.end_reason == "budget"
    assert trace.fed is None and trace.cut


def test_fed_embeddings_travel_behind_the_candidates():
    fed = torch.randn(7, 9, generator=torch.Generator().manual_seed(1))
    rows = pack_rows(**_columns(), fed=fed)
    assert rows.shape == (7, row_width(3, 9))
    trace = unpack_rows(rows.numpy())
    assert torch.equal(trace.fed, fed) and torch.equal(trace.values, _columns()["values"])
    assert torch.equal(trace.truncated(3).fed, fed[:3])


def test_rows_of_several_steps_join_and_cut():
    rows = pack_rows(**_columns()).numpy()
    trace = unpack_rows(np.concatenate((rows[:2], rows[2:])))
    cut = trace.truncated(4)
    assert len(cut) == 4
    assert torch.equal(cut.ids, trace.ids[:4])
    assert cut.end_reason == "budget"


def test_narrowing_never_drops_a_candidate():
    trace = unpack_rows(pack_rows(**_columns()).numpy())
    with pytest.raises(ValueError, match="raise softthink.filter.max_topk"):
        trace.narrowed(2)
    assert trace.narrowed(3).ids.shape == (7, 3)
