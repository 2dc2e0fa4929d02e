"""What differs between the supported releases of vLLM, all of it (``compat.py`` has the range).

The wrapped methods and the fields read from them are the same from 0.24 to 0.31: ``upstream.py`` lists them, and
``tests/vllm_versions.sh`` runs the parity tests with the first, the embedded and the last release.
"""


def batch_sharded_sampling(parallel_config) -> bool:
    """Whether tensor-parallel ranks sample a part of the batch each; releases before the setting never do."""
    return bool(getattr(parallel_config, "enable_batch_sharded_sampling", False))
