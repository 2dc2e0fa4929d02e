"""How many prompts to sample so that, after filtering, about as many responses as wanted are trained."""

import math
from fractions import Fraction

#: Share of the newly computed size; the rest is the last one's, so that one odd batch changes little.
STEP = Fraction(1, 10)


def next_batch_size(last: int, *, wanted: int, trained: int) -> int:
    """B_m = ceil(0.1 target + 0.9 B_{m-1}) with target = B_{m-1} * wanted // trained.

    Args:
        last: B_{m-1}, prompts of the last batch, at least 1.
        wanted: responses a step should train.
        trained: responses the last step trained; after a step that trained none the size stays.

    Raises:
        ValueError: when a number is out of range.
    """
    if last < 1 or wanted < 1 or trained < 0:
        raise ValueError(
            f"last={last}, wanted={wanted}, trained={trained}: sizes are at least 1, and trained at least 0"
        )
    if trained == 0:
        return last
    target = last * wanted // trained
    # In fractions: 0.1 * 64 + 0.9 * 64 is above 64 in floating point, and would be rounded up to 65.
    return max(1, math.ceil(STEP * target + (1 - STEP) * last))
