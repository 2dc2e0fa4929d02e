"""A response that is drawn in several attempts, each behind what the earlier ones have drawn.

An attempt sends the tokens so far at the end of its prompt. At soft positions these are not what the model was fed, so
the rows of the earlier attempts go along as a soft prefix (``rollout.prefix``). Noise is a function of the request's
seed and of the position: while the weights stay, and but for the rounding of a prefix that is computed at once, the
response is the one that a single attempt would have drawn.

A seed of answer tokens (``softthink.rollout.seed_answers``) begins anew with every attempt, so each has its own.
"""

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Int32

from verl_softthink.config.base import parse
from verl_softthink.config.settings import RequestSettings
from verl_softthink.rollout.fields import with_seed
from verl_softthink.rollout.prefix import decode_prefix, encode_prefix
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.trace import unpack_rows


class PartialResponse:
    """What the attempts of one soft request have drawn so far.

    Args:
        sampling_params: verl's, with the soft request; it may begin with a prefix of its own.

    Raises:
        ValueError: the soft request is wrong, or has no seed, without which each attempt would draw other noise.
    """

    def __init__(self, sampling_params: dict[str, Any]):
        self._request = parse(RequestSettings, sampling_params["extra_args"][EXTRA_ARGS_KEY], EXTRA_ARGS_KEY)
        if self._request.seed is None:
            raise ValueError("softthink.seed=None: a response that may be aborted continues its noise; give it a seed")
        self._rows: list[Int32[np.ndarray, "positions columns"]] = []
        #: Of every position, the training step whose weights drew it.
        self.versions: list[int] = []

    def append(self, rows: Int32[np.ndarray, "positions columns"], version: int) -> None:
        """Take the packed rows of an attempt, which weights of one training step have drawn."""
        self._rows.append(rows)
        self.versions += [version] * len(rows)

    @property
    def rows(self) -> Int32[np.ndarray, "positions columns"]:
        """Packed rows of all attempts, at least one of which has drawn something."""
        return np.concatenate(self._rows)

    def continued(self, sampling_params: dict[str, Any]) -> dict[str, Any]:
        """The sampling parameters of the next attempt, which begins behind what has been drawn."""
        if not self._rows:
            return sampling_params
        first = self._request
        trace = with_seed(unpack_rows(self.rows), first.law, first.seed)
        if first.prefix is not None:
            trace = decode_prefix(first.prefix.model_dump()).joined(trace)
        request = first.model_dump() | {"prefix": encode_prefix(trace, first.law)}
        extra = sampling_params["extra_args"] | {EXTRA_ARGS_KEY: request}
        seed = {"seed": _seed_of_attempt(sampling_params["seed"], len(trace))} if "seed" in sampling_params else {}
        return sampling_params | {"extra_args": extra} | seed


def _seed_of_attempt(seed: int, position: int) -> int:
    """Seed of the sampled tokens of an attempt that begins at a response position; in [0, 2^63)."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()) >> 1
