"""Text markers: the automaton against plain string search, and on a real tokenizer's tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_models import make_tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from verl_softthink.rollout.phase.markers import MAX_TEXT_MARKERS, TextMarkers, text_marker_table
from verl_softthink.thinking import check_text_marker, token_bytes


@settings(max_examples=400, deadline=None)
@given(
    marker=st.text("ab", min_size=1, max_size=6),
    vocabulary=st.lists(st.text("abc", max_size=4), min_size=1, max_size=8),
    data=st.data(),
)
def test_the_automaton_is_string_search(marker, vocabulary, data):
    tokens = data.draw(st.lists(st.integers(0, len(vocabulary) - 1), max_size=12))
    table = text_marker_table(marker.encode(), [text.encode() for text in vocabulary])
    assert table.dtype == torch.int16
    state, text = 0, ""
    for token in tokens:
        state, text = int(table[state, token]), text + vocabulary[token]
        assert (state == len(marker)) == (marker in text)
        assert state == len(marker) or text.endswith(marker[:state])


def byte_level() -> PreTrainedTokenizerFast:
    """GPT-2's kind: characters outside ASCII are several tokens, none of them valid UTF-8 alone."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = alphabet + ["is", "Ġis", "Ġanswer", ":Ċ"]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges=[("i", "s"), ("Ġ", "is")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_special_tokens({"eos_token": "<eos>"})
    return fast


@pytest.mark.parametrize("text", ["The answer is: ", "答え→", "é", "🙂 is:\n"])
def test_byte_level_tokens_write_bytes_also_inside_a_character(text):
    tokenizer = byte_level()
    texts = token_bytes(tokenizer, len(tokenizer) + 3)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(texts[i] for i in ids) == text.encode()
    assert texts[tokenizer.eos_token_id] == b"<eos>" and texts[-3:] == [b""] * 3
    state, table = 0, text_marker_table(text.encode(), texts)
    for number, token in enumerate(ids):
        state = int(table[state, token])
        assert (state == len(text.encode())) == (number == len(ids) - 1)
    check_text_marker(text, tokenizer)


def test_a_marker_that_the_tokenizer_cannot_write_is_refused(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path, "llama", tied=False))
    check_text_marker("think>", tokenizer)
    marker = "The final answer is:"
    with pytest.raises(ValueError, match="softthink.phase.end_of_thinking='The final answer is:'.*cannot produce"):
        check_text_marker(marker, tokenizer)
    with pytest.raises(ValueError, match="129 bytes long"):
        check_text_marker("x" * 129, tokenizer)


def test_a_text_that_nobody_uses_makes_room_for_another():
    """The numbers of the others stay, and each still finds its own end."""
    letters = [bytes([letter]) for letter in b"abcdefghijklmnop"]
    markers = TextMarkers(torch.device("cpu"))

    def add(text: str, used) -> None:
        markers.make_room(used)
        markers.add(text, text_marker_table(text.encode(), letters))

    texts = [letter.decode() * (1 + number % 3) for number, letter in enumerate(letters)]
    alive = set(texts[:MAX_TEXT_MARKERS])
    for text in sorted(alive):
        add(text, alive)
    numbers = {text: markers.number(text) for text in alive}
    with pytest.raises(RuntimeError, match="the requests alive have 8 texts.*or use match=tokens"):
        markers.make_room(alive)
    for old, new in zip(texts[2:5], texts[MAX_TEXT_MARKERS:], strict=False):
        alive.remove(old)
        add(new, alive)
        alive.add(new)
        assert old not in markers and markers.number(new) == numbers.pop(old)
        numbers[new] = markers.number(new)
    assert {text: markers.number(text) for text in alive} == numbers
    for text in alive:
        number, state = torch.tensor([numbers[text]]), torch.tensor([0])
        for letter in text:
            assert not markers.is_complete(number, state)
            state = markers.step(number, state, torch.tensor([ord(letter) - ord("a")]))
        assert markers.is_complete(number, state)
        assert markers.behind(text, torch.tensor([ord(letter) - ord("a") for letter in text])) == len(text)
