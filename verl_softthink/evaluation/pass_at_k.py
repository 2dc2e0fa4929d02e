"""pass@k: the chance that at least one of k samples is right, estimated from n >= k samples (Chen et al. 2021).

    pass@k = 1 - C(n - c, k) / C(n, k)        n samples, c of them right

is unbiased: of all sets of k samples it counts the share that holds a right one. 1 - (1 - c/n)^k is not.
"""

from math import comb


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Estimate pass@k of one prompt, in exact integer arithmetic until the last division.

    Args:
        samples: n, independent responses to the prompt.
        correct: c, how many of them are right.
        k: how many responses would be looked at.

    Raises:
        ValueError: unless 1 <= k <= samples and 0 <= correct <= samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k={k} with {samples} samples: pass@k needs 1 <= k <= samples; draw more samples or lower k")
    if not 0 <= correct <= samples:
        raise ValueError(f"correct={correct} of {samples} samples: the count must lie between 0 and the samples")
    sets = comb(samples, k)
    return (sets - comb(samples - correct, k)) / sets
