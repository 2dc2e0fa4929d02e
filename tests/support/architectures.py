"""Tiny random models of many architectures: what is looked up, how it is scaled, and what is added to it, differ."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from support.tiny_models import EOS, VOCABULARY, write_tokenizer

HIDDEN, LAYERS, HEADS, HEAD, POSITIONS = 64, 2, 2, 32, 1024
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
_SHARED_EXPERT = _EXPERTS | {"shared_expert_intermediate_size": 64}
_MULTIPLIERS = {
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.3,
    "attention_multiplier": 0.2,
    "logits_scaling": 4.0,
}


@dataclass(frozen=True)
class Architecture:
    """A model that is small enough for a test.

    Attributes:
        model_type: of transformers.
        about: what its input embedding is like, where it is not a plain table with a head of its own.
        options: of its configuration, beside the sizes.
        overrides: of vLLM's ``hf_overrides``; the same weights then are another architecture.
        backend: vLLM's ``model_impl``.
    """

    model_type: str
    about: str = ""
    options: dict = field(default_factory=dict)
    overrides: dict = field(default_factory=dict)
    backend: str = "auto"


def _in_transformers(model_type: str, about: str = "", **options) -> Architecture:
    return Architecture(model_type, about, options, backend="transformers")


#: By name; those that vLLM runs in its Transformers backend end with "_transformers".
ARCHITECTURES = {
    "llama": Architecture("llama"),
    "mistral": Architecture("mistral", "sliding window", {"sliding_window": 32}),
    "mixtral": Architecture("mixtral", "experts", {"num_local_experts": 4}),
    "qwen2": Architecture("qwen2", "tied", {"tie_word_embeddings": True}),
    "qwen3": Architecture("qwen3"),
    "qwen2_moe": Architecture("qwen2_moe", "experts", _SHARED_EXPERT),
    "qwen3_moe": Architecture("qwen3_moe", "experts", _EXPERTS),
    "gemma": Architecture("gemma", "tied, scaled by sqrt(H)", {"hidden_activation": "gelu_pytorch_tanh"}),
    "gemma2": Architecture("gemma2", "tied, scaled by sqrt(H), logits capped", {"query_pre_attn_scalar": 32}),
    "gemma3": Architecture("gemma3_text", "tied, scaled by sqrt(H)", {"query_pre_attn_scalar": 32}),
    "minicpm": Architecture(
        "granite",
        "scaled, logits scaled",
        _MULTIPLIERS | {"attention_multiplier": HEAD**-0.5},
        {
            "architectures": ["MiniCPMForCausalLM"],
            "scale_emb": 12.0,
            "scale_depth": 0.3 * LAYERS**0.5,
            "dim_model_base": HIDDEN / 4,
        },
    ),
    "granite": Architecture("granite", "scaled, logits scaled", _MULTIPLIERS),
    "granitemoe": Architecture("granitemoe", "scaled, logits scaled, experts", _MULTIPLIERS | {"num_local_experts": 4}),
    "cohere": Architecture("cohere", "tied, logits scaled"),
    "cohere2": Architecture("cohere2", "tied, logits scaled"),
    "phi": Architecture("phi", "head with bias", {"num_key_value_heads": HEADS, "intermediate_size": 4 * HIDDEN}),
    "phi3": Architecture("phi3", options={"original_max_position_embeddings": POSITIONS}),
    "stablelm": Architecture("stablelm"),
    "gpt2": Architecture("gpt2", "tied, positions added"),
    "opt": Architecture("opt", "tied, positions added", {"ffn_dim": 128}),
    "opt_projected": Architecture(
        "opt", "tied, projected from 32 numbers, positions added", {"ffn_dim": 128, "word_embed_proj_dim": 32}
    ),
    "gpt_neox": Architecture("gpt_neox"),
    "olmoe": Architecture("olmoe", "experts", {"num_experts": 4, "num_experts_per_tok": 2}),
    "olmo_transformers": Architecture("olmo"),
    "olmo2_transformers": Architecture("olmo2"),
    "smollm3_transformers": Architecture("smollm3", "tied"),
    "starcoder2_transformers": Architecture("starcoder2", "tied"),
    "gemma2_transformers": _in_transformers(
        "gemma2", "tied, scaled by sqrt(H), logits capped", query_pre_attn_scalar=32
    ),
    "gemma3_transformers": _in_transformers("gemma3_text", "tied, scaled by sqrt(H)", query_pre_attn_scalar=32),
}


def make_model(directory: Path, name: str) -> Path:
    """Write the model and a word-level tokenizer; weights are random, norms and biases too."""
    architecture = ARCHITECTURES[name]
    sizes = {
        "hidden_size": HIDDEN,
        "intermediate_size": 128,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "head_dim": HEAD,
        "max_position_embeddings": POSITIONS,
    }
    tokens = {"bos_token_id": None, "eos_token_id": EOS, "pad_token_id": EOS}
    options = {"vocab_size": VOCABULARY, "initializer_range": 0.2} | sizes | tokens | architecture.options
    config = AutoConfig.for_model(architecture.model_type, **options)
    torch.manual_seed(sum(map(ord, name)))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    write_tokenizer(directory)
    model.save_pretrained(directory)
    return directory
