"""Bounds on waiting, in seconds, read from the environment because both sides of a transfer need them."""

import math
import os

TRANSFER = "VERL_SOFTTHINK_TRANSFER_TIMEOUT_S"
SYNC = "VERL_SOFTTHINK_SYNC_TIMEOUT_S"

# One bucket takes well under a second to copy; a first bucket may wait for FSDP to gather a large layer.
_DEFAULT_S = {TRANSFER: 120.0, SYNC: 900.0}


def transfer_timeout_s() -> float:
    """Longest wait for the other side's next message in a weight transfer."""
    return _seconds(TRANSFER)


def sync_timeout_s() -> float:
    """Longest duration of one whole weight sync."""
    return _seconds(SYNC)


def _seconds(name: str) -> float:
    text = os.environ.get(name)
    if text is None:
        return _DEFAULT_S[name]
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{name}={text!r} is not a number of seconds") from error
    if not 0 < value < math.inf:
        raise ValueError(f"{name}={text!r}: give a positive, finite number of seconds")
    return value
