"""Bounds on waiting, in seconds: environment variables, because both sides of a transfer need them."""

import math
import os

TRANSFER = "VERL_SOFTTHINK_TRANSFER_TIMEOUT_S"
SYNC = "VERL_SOFTTHINK_SYNC_TIMEOUT_S"
SILENCE = "VERL_SOFTTHINK_SILENCE_TIMEOUT_S"

_DEFAULT_S = {
    # One bucket takes well under a second to copy; a first bucket may wait for FSDP to gather a large layer.
    TRANSFER: 120.0,
    # All buckets of a large model.
    SYNC: 900.0,
    # An engine answers between two of its steps; a long prefill is one step.
    SILENCE: 120.0,
}


def transfer_timeout_s() -> float:
    """Longest wait for the other side's next message in a weight transfer."""
    return _seconds(TRANSFER)


def sync_timeout_s() -> float:
    """Longest duration of one whole weight sync."""
    return _seconds(SYNC)


def silence_timeout_s() -> float:
    """Longest wait for a sign of life from a vLLM server, an agent worker or a reward worker."""
    return _seconds(SILENCE)


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
