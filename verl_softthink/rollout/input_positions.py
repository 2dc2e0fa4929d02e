"""Which input rows of a batch hold generated positions: host bookkeeping in NumPy, without a loop over requests."""

import numpy as np


def input_positions(
    starts: np.ndarray, first: np.ndarray, soft: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the generated positions among the inputs of N requests, whose scheduled tokens lie one after another.

    A scheduled token at position p of a request with P prompt tokens has output index p - P, which is negative in the
    prompt. That index alone tells decode rows, chunks of a request resumed after preemption, and prompts apart.

    Args:
        starts: [N + 1] first input row of each request.
        first: [N] int64 output index of each request's first scheduled token.
        soft: [N] bool, the requests to look at.

    Returns:
        the input row, the request and the output index of every generated position, each [R] int64.
    """
    begin = np.maximum(first, 0)
    counts = np.where(soft, np.maximum(first + np.diff(starts) - begin, 0), 0)
    owner = np.repeat(np.arange(len(counts)), counts)
    index = begin[owner] + np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    return starts[owner] + index - first[owner], owner, index
