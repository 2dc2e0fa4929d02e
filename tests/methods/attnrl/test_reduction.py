"""One layer's influence against its whole softmax matrix."""

import itertools

import numpy as np
import pytest
import torch
from oracles.context_influence import influence as oracle
from oracles.context_influence import zeroed

from verl_softthink.methods.attnrl import reduction
from verl_softthink.methods.attnrl.reduction import LayerAttention, influence_of_layer

LENGTHS = (5, 3, 1, 4, 2, 7, 1, 6, 3, 2, 5)


def softmax_matrix(query, key, attention: LayerAttention) -> np.ndarray:
    """[1, H, T, T], a row at a time."""
    heads, total, _ = query.shape
    weights = np.zeros((1, heads, total, total))
    for head, row in itertools.product(range(heads), range(total)):
        first = 0 if attention.window is None else max(0, row + 1 - attention.window)
        scores = (key[head * len(key) // heads, first : row + 1] @ query[head, row]).double().numpy()
        scores = scores * attention.scaling
        if attention.softcap is not None:
            scores = attention.softcap * np.tanh(scores / attention.softcap)
        exponentials = np.exp(scores - scores.max())
        weights[0, head, row, first : row + 1] = exponentials / exponentials.sum()
    return weights


@pytest.mark.parametrize("window", [None, 1, 8, 20, 38, 39, 100])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (4, 2), (6, 1)])
@pytest.mark.parametrize("rows", [1, 4, 256])
def test_against_the_whole_matrix(window, softcap, heads, groups, rows, monkeypatch):
    monkeypatch.setattr(reduction, "MIN_ROWS", rows)
    if rows < 256:
        monkeypatch.setattr(reduction, "TILE_CPU", 1)
    generator = torch.Generator().manual_seed(heads)
    query = torch.randn(heads, sum(LENGTHS), 8, generator=generator)
    key = torch.randn(groups, sum(LENGTHS), 8, generator=generator)
    attention = LayerAttention(scaling=0.7, window=window, softcap=softcap)
    wanted = zeroed(oracle(softmax_matrix(query, key, attention), list(LENGTHS)), None)
    assert window in (1, 8) or wanted.max() > 0.1
    found = influence_of_layer(query, key, torch.tensor(LENGTHS), attention)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-6)
