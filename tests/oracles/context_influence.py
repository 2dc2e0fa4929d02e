"""Forward context influence (arXiv 2509.26628) from whole attention matrices, one sum at a time."""

import numpy as np

#: A step is influenced by those at least this many steps earlier.
DISTANCE = 4


def influence(attentions: np.ndarray, lengths: list[int]) -> np.ndarray:
    """y_k = max over layers and heads of sum_{j >= k + 4} alpha_{j,k}, without any zeroing.

    alpha_{j,k} is the mean of A_{i,t} over all query tokens i of range j and all key tokens t of range k.

    Args:
        attentions: [L, H, T, T] softmax rows of one sequence.
        lengths: tokens of every range: the prompt, then each step; they sum to T.

    Returns:
        [R] for R ranges.
    """
    layers, heads, total, _ = attentions.shape
    assert sum(lengths) == total
    ranges, start = [], 0
    for length in lengths:
        ranges.append(range(start, start + length))
        start += length
    best = np.zeros(len(ranges))
    for layer in range(layers):
        for head in range(heads):
            for k, keys in enumerate(ranges):
                value = 0.0
                for j in range(k + DISTANCE, len(ranges)):
                    queries = ranges[j]
                    alpha = 0.0
                    for i in queries:
                        for t in keys:
                            alpha += attentions[layer, head, i, t]
                    value += alpha / (len(queries) * len(keys))
                best[k] = max(best[k], value)
    return best


def zeroed(values: np.ndarray, end_of_thinking: int | None) -> np.ndarray:
    """The prompt (0), the first response step (1) and everything from range ``end_of_thinking`` on count nothing."""
    result = values.copy()
    for k in range(len(result)):
        if k < 2 or (end_of_thinking is not None and k >= end_of_thinking):
            result[k] = 0.0
    return result
