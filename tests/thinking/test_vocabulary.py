"""What tokens write, for kinds of tokenizers whose pieces are no plain text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real_tokenizers import MAKERS, real_tokenizer
from support.tiny_models import END_1, END_2, make_tiny_model
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from verl_softthink.thinking import token_bytes, token_finder, token_writer


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


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("the </>ink.\n\n:é答🙂"), max_size=24))
def test_published_tokenizers_write_what_they_decode(name, text):
    tokenizer = real_tokenizer(name)
    write, find = token_writer(tokenizer), token_finder(tokenizer)
    # What the first token of a text writes may be stripped when it is decoded.
    ids = tokenizer.encode("x" + text, add_special_tokens=False)
    written = b"".join(map(write, ids)).decode(errors="replace")
    assert written.lstrip() == tokenizer.decode(ids, clean_up_tokenization_spaces=False).lstrip()
    added = tokenizer.added_tokens_decoder
    for token in ids:
        found = find(write(token))
        assert token in added or write(token) == b"" or (found not in added and write(found) == write(token))
