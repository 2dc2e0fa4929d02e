"""What tokens write, for kinds of tokenizers whose pieces are no plain text."""

from support.tiny_models import END_1, END_2, make_tiny_model
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from verl_softthink.thinking import token_bytes


def byte_fallback() -> PreTrainedTokenizerFast:
    """SentencePiece's kind: spaces are in the pieces, unknown characters are bytes."""
    words = ["<unk>", "▁The", "▁answer", ":", "▁"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(
        models.BPE({w: i for i, w in enumerate(words)}, merges=[], byte_fallback=True, unk_token="<unk>")
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_byte_fallback_tokens():
    tokenizer = byte_fallback()
    texts = token_bytes(tokenizer, len(tokenizer))
    names = tokenizer.convert_tokens_to_ids
    assert texts[names("▁The")] == b" The" and texts[names(":")] == b":"
    assert texts[names("<0xE2>")] == b"\xe2" and texts[names("<0x0A>")] == b"\n"


def test_words_joined_by_the_decoder(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path, "llama", tied=False))
    texts = token_bytes(tokenizer, 300)
    assert texts[END_1] == b" </" and texts[END_2] == b" think>" and texts[17] == b" w17"
