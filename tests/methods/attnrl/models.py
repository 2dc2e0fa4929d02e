"""Tiny random decoders whose attention is neither flat nor certain."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 50
WINDOW = 9
_SPECIAL = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "qwen3": {},
    "gemma": {},
    "gemma2": {"query_pre_attn_scalar": 16, "sliding_window": WINDOW, "attn_logit_softcapping": 3.0},
    "gemma3_text": {
        "query_pre_attn_scalar": 16,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "mistral": {"sliding_window": 3 * WINDOW},
}
ARCHITECTURES = tuple(_SPECIAL)


def make_model(architecture: str, implementation: str = "sdpa", **overrides) -> torch.nn.Module:
    """A 3-layer model in evaluation mode with 4 query and 2 key heads."""
    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "initializer_range": 0.5,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": None,
    }
    config = AutoConfig.for_model(architecture, **(options | _SPECIAL.get(architecture, {}) | overrides))
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=implementation).eval()
