"""What differs between releases of vLLM, 0.24 to 0.31, all of it; ``compat.py`` has the range that is supported.

The wrapped methods and the fields that they read are the same from 0.24 to 0.31: ``upstream.py`` lists them, and
``tests/vllm_versions.sh`` runs the parity tests with another release. A release is supported once they pass.
"""


def batch_sharded_sampling(parallel_config) -> bool:
    """Whether tensor-parallel ranks sample a part of the batch each; releases before the setting never do."""
    return bool(getattr(parallel_config, "enable_batch_sharded_sampling", False))


def returns_routed_experts(vllm_config) -> bool:
    """Whether routed experts are asked for: a setting of the model up to 0.30, of the auxiliary outputs from 0.31."""
    owner = getattr(vllm_config, "aux_output_config", vllm_config.model_config)
    return bool(owner.enable_return_routed_experts)


def has_own_group(embedding) -> bool:
    """Whether an embedding is split over other ranks than those of tensor parallelism, as 0.31 lets a model choose."""
    return getattr(embedding, "parallel_group", None) is not None
