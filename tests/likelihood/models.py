"""Tiny random causal models of the architectures that differ in how they embed: scaled or not, tied or not."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 61
HIDDEN = 32
#: What the embedding rows are multiplied with before the first layer, outside ``inputs_embeds``' reach: Gemma scales
#: in its embedding module. Granite scales inside the model, so ``inputs_embeds`` is scaled there as well.
EMBEDDING_SCALE = {"gemma": HIDDEN**0.5, "gemma2": HIDDEN**0.5, "gemma3_text": HIDDEN**0.5}
_SPECIAL = {
    "granite": {"embedding_multiplier": 3.0, "logits_scaling": 2.0},
    # sdpa, unlike eager attention, leaves out the softcapping of attention scores.
    "gemma2": {
        "query_pre_attn_scalar": 16,
        "sliding_window": 16,
        "final_logit_softcapping": 5.0,
        "attn_logit_softcapping": None,
    },
    "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window": 16},
}


def write_model(folder: Path, architecture: str, *, tied: bool) -> None:
    """Save a random 2-layer model whose next-token distribution is neither flat nor certain."""
    config = AutoConfig.for_model(
        architecture,
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=None,
        initializer_range=0.3,
        **_SPECIAL.get(architecture, {}),
    )
    torch.manual_seed(len(architecture) + tied)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        # Norm weights that are all alike, and biases that are zero, hide mistakes.
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def write_tokenizer(folder: Path, tokens: int) -> None:
    """Save a tokenizer of so many words, fewer than the model's vocabulary has."""
    words = {"<unk>": 0, "<eos>": 1} | {f"w{token}": token for token in range(2, tokens)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>").save_pretrained(folder)
