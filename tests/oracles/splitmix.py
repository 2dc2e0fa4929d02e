"""SplitMix64's finaliser (Steele, Lea and Flood 2014) on Python integers, and its inverse."""

INCREMENT = 0x9E3779B97F4A7C15
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
MODULUS = 1 << 64


def mix(x: int) -> int:
    """The first output of a SplitMix64 generator whose state is ``x`` (taken modulo 2^64)."""
    x = (x + INCREMENT) % MODULUS
    x = (x ^ (x >> 30)) * MULTIPLIERS[0] % MODULUS
    x = (x ^ (x >> 27)) * MULTIPLIERS[1] % MODULUS
    return x ^ (x >> 31)


def unmix(x: int) -> int:
    """The state whose first output is ``x``."""
    x = _undo_shift(x, 31) * pow(MULTIPLIERS[1], -1, MODULUS) % MODULUS
    x = _undo_shift(x, 27) * pow(MULTIPLIERS[0], -1, MODULUS) % MODULUS
    return (_undo_shift(x, 30) - INCREMENT) % MODULUS


def signed(x: int) -> int:
    """The int64 with the bits of the unsigned ``x``."""
    return x - MODULUS if x >= MODULUS // 2 else x


def _undo_shift(x: int, bits: int) -> int:
    result = x
    for _ in range(64 // bits + 1):
        result = x ^ (result >> bits)
    return result
