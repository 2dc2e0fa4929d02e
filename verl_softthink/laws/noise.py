"""Counter-based noise: a pure function of (seed, output index, token id).

Nothing is drawn from a generator, so the noise does not depend on the batch, on the rank, on the device or on
preemption, and anybody who knows the seed of a request can rebuild it. The mixing function is the finaliser of
SplitMix64 (Steele, Lea and Flood 2014), applied once per counter.
"""

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

# SplitMix64's increment (2^64 / golden ratio) and multipliers, as the int64 with the same bits.
_INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MULTIPLIER_2 = 0x94D049BB133111EB - (1 << 64)
# The half keeps the uniform away from 0 and from 1; with it, 52 bits are all that a double's 53 hold exactly.
_UNIFORM_BITS = 52


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical (unsigned) right shift of int64, which torch only offers arithmetically."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = x + _INCREMENT
    x = (x ^ _shift_right(x, 30)) * _MULTIPLIER_1
    x = (x ^ _shift_right(x, 27)) * _MULTIPLIER_2
    return x ^ _shift_right(x, 31)


def uniform(
    seed: Int64[Tensor, "..."], index: Int64[Tensor, "..."], lane: Int64[Tensor, "..."]
) -> Float64[Tensor, "..."]:
    """Uniform numbers in the open interval (0, 1), in double precision.

    Args:
        seed, index, lane: int64 tensors that broadcast together: the request's seed, the index of the generated
            token, and the token id (or any other counter).
    """
    bits = _mix(_mix(_mix(seed) ^ index) ^ lane)
    return (_shift_right(bits, 64 - _UNIFORM_BITS).double() + 0.5) * 2.0**-_UNIFORM_BITS


def gumbel(
    seed: Int64[Tensor, " rows"], index: Int64[Tensor, " rows"], ids: Int64[Tensor, "rows slots"]
) -> Float32[Tensor, "rows slots"]:
    """Standard Gumbel noise of each candidate: keyed by token id, so ties and order of the top-k do not matter.

    Args:
        seed: [N] int64 seed of each row's request.
        index: [N] int64 index of the generated token in its response.
        ids: [N, K] int64 token ids.

    Returns:
        [N, K] float32.
    """
    return (-torch.log(-torch.log(uniform(seed[:, None], index[:, None], ids)))).float()


def normal(
    seed: Int64[Tensor, " rows"], index: Int64[Tensor, " rows"], lanes: Int64[Tensor, "rows lanes"]
) -> Float32[Tensor, "rows lanes"]:
    """Standard normal noise by the inverse of its distribution function, one counter a number.

    Args:
        seed, index: [N] int64.
        lanes: [N, D] int64 counters.

    Returns:
        [N, D] float32.
    """
    return torch.special.ndtri(uniform(seed[:, None], index[:, None], lanes)).float()
