"""Prefix-cache keys that tell what was fed at soft positions.

Block hashes cover token ids, but a soft position's keys and values come from a mixture that its shown id does not
identify. A block with soft positions therefore carries a digest of their candidates, weights and law: an ordinary
request over the shown tokens does not find it, while a continuation finds the blocks of the response that it was cut
from and of its siblings, as far as they were fed the same to the last bit and were served by the same engine. Prompts
and ordinary tokens are shared as ever.
"""

import functools
import secrets
from hashlib import blake2b

import numpy as np

from verl_softthink.rollout.prefix import law_values, prefix_rows, prefix_seeds
from verl_softthink.rollout.request import EXTRA_ARGS_KEY, SoftRequest
from verl_softthink.trace import fed_of_row

_DIGEST_BYTES = 16


class FedInputs:
    """What one request fed at its response positions, in the process of the scheduler.

    Args:
        request: its settings.
        start: index of the first response position among its tokens.
    """

    def __init__(self, request: SoftRequest, start: int):
        self.start = start
        #: What turns candidates and values into weights.
        self._law = tuple(law_values(request.law, request.parameters).values())
        self._rebuilt = request.rebuilds_embedding
        self._seed = request.seed
        self._digests: dict[int, bytes | None] = {}
        #: In place of a row that is missing, as where a request fails: nobody finds a block of unknown content.
        self._unknown = secrets.token_bytes(_DIGEST_BYTES)
        if request.prefix is not None:
            seeds = prefix_seeds(request.prefix)
            for position, row in enumerate(prefix_rows(request.prefix)):
                self.remember(position, row, None if seeds is None else int(seeds[position]))

    def remember(self, position: int, row: np.ndarray, seed: int | None = None) -> None:
        """Record what a packed row [C] says was fed.

        Args:
            seed: of the noise, where the request itself has not drawn the position.
        """
        fed = fed_of_row(row)
        if fed is not None and self._rebuilt:
            for number in (self._seed if seed is None else seed, position):
                fed += number.to_bytes(8, "little", signed=True)
        self._digests[position] = None if fed is None else blake2b(fed, digest_size=_DIGEST_BYTES).digest()

    def key(self, start: int, end: int) -> tuple:
        """What tells tokens ``start`` to ``end`` from ordinary ones; empty where they are ordinary."""
        first = max(start, self.start)
        fed = [(token - start, self._digests.get(token - self.start, self._unknown)) for token in range(first, end)]
        soft = [pair for pair in fed if pair[1] is not None]
        return (EXTRA_ARGS_KEY, *self._law, *(part for pair in soft for part in pair)) if soft else ()


def fed_inputs_of(request) -> FedInputs | None:
    """The record of a request of vLLM's scheduler; None for an ordinary one."""
    found = getattr(request, "_softthink_fed", None)
    if found is None:
        values = (getattr(request.sampling_params, "extra_args", None) or {}).get(EXTRA_ARGS_KEY)
        if values is None:
            return None
        settings = SoftRequest.from_dict(values)
        found = FedInputs(settings, request.num_prompt_tokens - settings.soft_prefix_length)
        request._softthink_fed = found
    return found


def remember_fed(request, row: np.ndarray) -> None:
    """Record the packed row [1, C] of the token that is about to be appended to a request of the scheduler."""
    fed = fed_inputs_of(request)
    fed.remember(request.num_tokens - fed.start, row[0])


def install(kv_cache_utils, block_pool) -> None:
    """Wrap ``generate_block_hash_extra_keys`` where it is defined and where it was imported by name."""
    original = kv_cache_utils.generate_block_hash_extra_keys

    @functools.wraps(original)
    def with_fed_inputs(request, start_token_idx, end_token_idx, start_mm_idx):
        keys, next_mm_idx = original(request, start_token_idx, end_token_idx, start_mm_idx)
        fed = fed_inputs_of(request)
        own = () if fed is None else fed.key(start_token_idx, end_token_idx)
        return ((*(keys or ()), *own) if own else keys), next_mm_idx

    kv_cache_utils.generate_block_hash_extra_keys = with_fed_inputs
    block_pool.generate_block_hash_extra_keys = with_fed_inputs
