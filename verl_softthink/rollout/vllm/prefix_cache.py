"""A private prefix-cache key for blocks that hold soft positions.

Block hashes are over token ids, but a soft position's keys and values come from a mixture that its shown id does not
tell. Blocks past the prompt of a soft request therefore carry the request's id in their hash: nobody else reads
them, the request itself finds them again after preemption, and prompts are shared as ever.
"""

import functools

from verl_softthink.rollout.request import EXTRA_ARGS_KEY


def install(kv_cache_utils, block_pool) -> None:
    """Wrap ``generate_block_hash_extra_keys`` where it is defined and where it was imported by name."""
    original = kv_cache_utils.generate_block_hash_extra_keys

    @functools.wraps(original)
    def with_private_key(request, start_token_idx, end_token_idx, start_mm_idx):
        keys, next_mm_idx = original(request, start_token_idx, end_token_idx, start_mm_idx)
        extra = getattr(request.sampling_params, "extra_args", None) or {}
        if end_token_idx > request.num_prompt_tokens and EXTRA_ARGS_KEY in extra:
            keys = (*(keys or ()), EXTRA_ARGS_KEY, request.request_id)
        return keys, next_mm_idx

    kv_cache_utils.generate_block_hash_extra_keys = with_private_key
    block_pool.generate_block_hash_extra_keys = with_private_key
