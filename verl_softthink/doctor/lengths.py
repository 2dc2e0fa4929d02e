"""Lengths of a run against the engine that must hold them: prompt and response, the model's positions, KV cache, and
the history of soft requests.
"""

import math

import torch
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedConfig

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.doctor.findings import Finding, failure, ok, warning
from verl_softthink.errors import FileError
from verl_softthink.files.checkpoint import load_config
from verl_softthink.rollout.state import history_bytes

_ROLLOUT = "actor_rollout_ref.rollout"
_VLLM = f"{_ROLLOUT}.engine_kwargs.vllm"
#: Keys and values.
_KEY_AND_VALUE = 2
_BYTES = {"float32": 4}
#: bfloat16 and float16, which every other model runs in.
_HALF_BYTES = 2
#: Tokens of a block of vLLM's cache, which is filled in whole blocks: on a CPU, and elsewhere.
_CPU_BLOCK, _BLOCK = 128, 16


def length_findings(config: DictConfig, check: str) -> list[Finding]:
    """What verl and vLLM would refuse when the engine starts, or a length that cuts responses short; one at most."""
    if None in (config.data.max_prompt_length, config.data.max_response_length):
        # The configuration's own check has said so.
        return []
    judgements = (_step, _positions, _cache, _cut)
    return next(([found] for judge in judgements if (found := judge(config, check)) is not None), [])


def _step(config: DictConfig, check: str) -> Finding | None:
    """vLLM gives each running request a token of a step at least."""
    rollout = config.actor_rollout_ref.rollout
    if rollout.max_num_batched_tokens >= rollout.max_num_seqs:
        return None
    return failure(
        check,
        f"{_ROLLOUT}.max_num_batched_tokens={rollout.max_num_batched_tokens} is below {_ROLLOUT}.max_num_seqs="
        f"{rollout.max_num_seqs}, which vLLM refuses: raise the first to that at least, or lower the second.",
    )


def _positions(config: DictConfig, check: str) -> Finding | None:
    length, positions = config.actor_rollout_ref.rollout.max_model_len, _model_positions(config)
    if length is None or positions is None or length <= positions:
        return None
    return failure(
        check,
        f"{_ROLLOUT}.max_model_len={length} is more than the {positions} positions of the model "
        f"(data.max_prompt_length + data.max_response_length = {_needed(config)}): lower the lengths.",
    )


def _cache(config: DictConfig, check: str) -> Finding | None:
    key = f"{_VLLM}.kv_cache_memory_bytes"
    cache, model, length = OmegaConf.select(config, key), _model(config), _longest(config)
    if cache is None or model is None or length is None or not _plain_cache(config, model):
        return None
    block = OmegaConf.select(config, f"{_VLLM}.block_size") or (
        _CPU_BLOCK if config.trainer.device == "cpu" else _BLOCK
    )
    whole = math.ceil(length / block) * block * _bytes_per_token(config, model)
    if cache >= whole:
        return None
    return failure(
        check,
        f"{key}={cache} does not hold one sequence of {length} tokens, which takes {whole} bytes in blocks of {block} "
        "tokens: raise it to that at least.",
    )


def _cut(config: DictConfig, check: str) -> Finding | None:
    """verl takes a sequence that is shorter than prompt and response, and says nothing."""
    length, needed = _longest(config), _needed(config)
    if length is None or length >= needed:
        return None
    return warning(
        check,
        f"{_ROLLOUT}.max_model_len={length} is below data.max_prompt_length + data.max_response_length = {needed}: "
        "responses are cut where they reach it, and a prompt of so many tokens ends the run; raise it, or lower the "
        "lengths.",
    )


def _needed(config: DictConfig) -> int:
    return config.data.max_prompt_length + config.data.max_response_length


def _longest(config: DictConfig) -> int | None:
    """Tokens of a whole sequence; verl's default is all that the model has."""
    return config.actor_rollout_ref.rollout.max_model_len or _model_positions(config)


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


def _model_positions(config: DictConfig) -> int | None:
    override = OmegaConf.select(config, "actor_rollout_ref.model.override_config.max_position_embeddings")
    return override or getattr(_model(config), "max_position_embeddings", None)


def _plain_cache(config: DictConfig, model: PreTrainedConfig) -> bool:
    """Whether every layer keeps all keys and values in the model's precision; others take less, and are not judged."""
    layers = set(getattr(model, "layer_types", None) or ["full_attention"])
    compressed = getattr(model, "kv_lora_rank", None) is not None
    precision = OmegaConf.select(config, f"{_VLLM}.kv_cache_dtype") or "auto"
    return layers == {"full_attention"} and not compressed and precision == "auto"


def _bytes_per_token(config: DictConfig, model: PreTrainedConfig) -> int:
    """Of plain attention, on one tensor-parallel rank, which holds its share of the heads, or one."""
    rollout = config.actor_rollout_ref.rollout
    heads = getattr(model, "num_key_value_heads", None) or model.num_attention_heads
    heads = max(1, heads // rollout.tensor_model_parallel_size)
    size = getattr(model, "head_dim", None) or model.hidden_size // model.num_attention_heads
    return _KEY_AND_VALUE * model.num_hidden_layers * heads * size * _BYTES.get(rollout.dtype, _HALF_BYTES)
