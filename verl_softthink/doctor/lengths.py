"""Lengths of a run against the engine that must hold them: prompt and response, the model's positions, KV cache, and
the history of soft requests.
"""

import torch
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedConfig

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.doctor.findings import Finding, failure, ok
from verl_softthink.errors import FileError
from verl_softthink.files.checkpoint import load_config
from verl_softthink.rollout.state import history_bytes

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


def history_findings(config: DictConfig, check: str) -> list[Finding]:
    """How much memory the history of soft requests takes; nothing where no request is soft."""
    rollout, model = config.actor_rollout_ref.rollout, _model(config)
    settings = SoftThinkSettings.of_node(config.softthink) if "softthink" in config else None
    if settings is None or settings.law is None or model is None:
        return []
    length = rollout.max_model_len or model.max_position_embeddings
    dtype = getattr(torch, rollout.dtype)
    taken = history_bytes(
        slots=rollout.max_num_seqs,
        length=length,
        width=max(settings.filter.max_topk, settings.law.slots),
        fed=(model.hidden_size, dtype) if settings.law.carries_embedding else None,
    )
    text = (
        f"The history of soft requests takes {taken / 2**30:.2f} GiB of each device of a rollout engine, beside its KV "
        f"cache, for actor_rollout_ref.rollout.max_num_seqs={rollout.max_num_seqs} times {length} tokens "
        "(rollout.max_model_len): lower either if memory is short."
    )
    return [ok(check, text)]


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
