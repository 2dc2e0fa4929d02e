"""The architecture of the pocket reasoner: an ordinary Llama of about one million parameters."""

from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

MAX_LENGTH = 256
# vLLM's CPU attention serves head sizes from 32 upwards.
HEAD_SIZE = 32
HEADS = 4
LAYERS = 4
FEED_FORWARD_SIZE = 512


def build_model(
    tokenizer: PreTrainedTokenizerBase, *, layers: int = LAYERS, max_length: int = MAX_LENGTH
) -> LlamaForCausalLM:
    """A freshly initialised float32 model; its vocabulary is exactly the tokenizer's.

    vLLM hides logits beyond ``len(tokenizer)`` and an actor does not, so any padding of the vocabulary would make
    their log-probabilities differ.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HEADS * HEAD_SIZE,
        intermediate_size=FEED_FORWARD_SIZE,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_SIZE,
        max_position_embeddings=max_length,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    model = LlamaForCausalLM(config).float()
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model
