"""Which input rows of a batch feed generated positions: host bookkeeping in NumPy, without a loop over requests."""

import numpy as np


def fed_positions(starts: np.ndarray, first: np.ndarray, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find them for N requests whose scheduled tokens lie one after another.

    A scheduled token at position p of a request with P prompt tokens is output index p - P. Decode rows, chunks of a
    resumed request after preemption, and prompts are told apart by that index alone: prompts have negative ones.

    Args:
        starts: [N + 1] first input row of each request.
        first: [N] int64 output index of each request's first scheduled token.
        soft: [N] bool, the requests to look at.

    Returns:
        the input row, the request and the output index of every fed position, each [R] int64.
    """
    begin = np.maximum(first, 0)
    counts = np.where(soft, np.maximum(first + np.diff(starts) - begin, 0), 0)
    owner = np.repeat(np.arange(len(counts)), counts)
    index = begin[owner] + np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    return starts[owner] + index - first[owner], owner, index
