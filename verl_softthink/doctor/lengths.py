"""Lengths of a run against the engine that must hold them: prompt and response, the model's positions, KV cache."""

from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedConfig

from verl_softthink.doctor.findings import Finding, failure
from verl_softthink.errors import FileError
from verl_softthink.files.checkpoint import load_config

#: Keys and values.
_KEY_AND_VALUE = 2
_BYTES = {"float32": 4}
#: bfloat16 and float16, which every other model runs in.
_HALF_BYTES = 2


def length_findings(config: DictConfig, check: str) -> list[Finding]:
    """What vLLM would refuse at its start, and a length that cuts responses short; one finding at most."""
    data, rollout = config.data, config.actor_rollout_ref.rollout
    needed, length = data.max_prompt_length + data.max_response_length, rollout.max_model_len
    if length is not None and length < needed:
        return [
            failure(
                check,
                f"actor_rollout_ref.rollout.max_model_len={length} is below data.max_prompt_length + "
                f"data.max_response_length = {needed}: raise it.",
            )
        ]
    model = _model(config)
    if model is None:
        return []
    override = OmegaConf.select(config, "actor_rollout_ref.model.override_config.max_position_embeddings")
    positions = override or model.max_position_embeddings
    # verl's default is all that the model has.
    longest = length or positions
    if longest > positions:
        return [
            failure(
                check,
                f"actor_rollout_ref.rollout.max_model_len={length} is more than the {positions} positions of the model "
                f"(data.max_prompt_length + data.max_response_length = {needed}): lower the lengths.",
            )
        ]
    key = "actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes"
    cache, whole = OmegaConf.select(config, key), longest * _bytes_per_token(model, rollout.dtype)
    if cache is not None and cache < whole:
        return [
            failure(
                check,
                f"{key}={cache} does not hold one sequence of {longest} tokens, which takes {whole} bytes: raise it "
                "to that at least.",
            )
        ]
    return []


def _model(config: DictConfig) -> PreTrainedConfig | None:
    """The language model's own configuration; None where there is no checkpoint, which other checks name."""
    path, trusted = config.actor_rollout_ref.model.path, config.actor_rollout_ref.model.trust_remote_code
    try:
        return load_config(path, trust_remote_code=trusted).get_text_config()
    except FileError:
        return None


def _bytes_per_token(model: PreTrainedConfig, dtype: str) -> int:
    """Of plain attention; one tensor-parallel rank holds the keys and values of all heads at most."""
    heads = getattr(model, "num_key_value_heads", None) or model.num_attention_heads
    size = getattr(model, "head_dim", None) or model.hidden_size // model.num_attention_heads
    return _KEY_AND_VALUE * model.num_hidden_layers * heads * size * _BYTES.get(dtype, _HALF_BYTES)
