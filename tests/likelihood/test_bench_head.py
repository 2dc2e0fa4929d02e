"""The head in pieces needs a fraction of the memory: measured, not computed."""

import torch

from verl_softthink.bench import head
from verl_softthink.bench.head import QUICK, peak_bytes


def test_pieces_need_less_memory_than_all_logits():
    result = head.run(QUICK, at_once=32)
    logits = QUICK.sequences * QUICK.tokens * QUICK.vocabulary * 4
    assert result["whole_gib"] * 2**30 > logits
    assert result["memory_ratio"] < 0.7


def test_the_peak_is_seen_though_it_is_over():
    size = 64 * 2**20
    assert size * 0.9 < peak_bytes(lambda: torch.ones(size // 4).sum()) < size * 1.5
