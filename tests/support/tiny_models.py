"""Tiny random models with a word-level tokenizer, whose vocabulary is exactly the model's."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 300
EOS, THINK, END_1, END_2 = 1, 2, 3, 4
ARCHITECTURES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


def write_tokenizer(directory: Path) -> None:
    """Write a tokenizer of whole words.

    ``</think>`` is two tokens here ("</" "think>"), so that markers of several tokens are the ordinary case.
    """
    words = {"<unk>": 0, "<eos>": EOS, "<think>": THINK, "</": END_1, "think>": END_2}
    words |= {f"w{i}": i for i in range(len(words), VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>"
    ).save_pretrained(directory)


def make_tiny_model(directory: Path, architecture: str, *, tied: bool, sharpness: float = 4.0) -> Path:
    """Write a random 2-layer model whose next-token distribution is neither flat nor certain."""
    write_tokenizer(directory)
    config_class, model_class = ARCHITECTURES[architecture]
    torch.manual_seed(sum(map(ord, architecture)))
    config = config_class(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=EOS,
        initializer_range=0.2,
    )
    model = model_class(config).float()
    with torch.no_grad():
        probe = torch.arange(5, 69)[None]
        spread = model(probe).logits.std().item()
        head = model.get_output_embeddings().weight
        if not tied:
            head.mul_(sharpness / spread)
        else:
            model.model.norm.weight.mul_(sharpness / spread)
    model.save_pretrained(directory)
    return directory
