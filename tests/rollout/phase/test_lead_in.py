"""What completes a marker that has begun: its text stands there once, whole, whatever tokens began it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real_tokenizers import MAKERS, real_tokenizer

from verl_softthink.rollout.phase.lead_in import MAX_FORCED, fewest_tokens, lead_ins_by_tokens, lead_ins_of
from verl_softthink.thinking import EndOfThinking, token_writer

#: Markers, and lead-ins with one, the last of which has none.
TEXTS = [
    ("</think>", "</think>"),
    ("</think>", "\n\nTime is up.\n</think>\n\nThe answer is"),
    ("The final answer is:", " The final answer is: \\boxed{"),
    ("</思考>", "</思考>答"),
    ("####", "\n#### "),
    ("abab", "ababab"),
    ("</think>", "So the answer is"),
]
TOKENIZERS = [name for name in MAKERS if "added" not in name and name != "pocket"]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(("marker", "lead_in"), TEXTS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_marker_is_written_once_and_whole(name, marker, lead_in, data):
    tokenizer = real_tokenizer(name)
    write, whole, encoded = (
        token_writer(tokenizer),
        tokenizer.encode(lead_in, add_special_tokens=False),
        marker.encode(),
    )
    forced = lead_ins_of(tokenizer, tuple(whole), marker)
    assert len(forced) == len(encoded) and all(1 <= len(tokens) <= MAX_FORCED for tokens in forced)
    # A thought that the budget cuts anywhere in the marker, after a random beginning.
    part = data.draw(st.integers(0, len(encoded) - 1))
    thought = data.draw(st.text("Tx <#ab", max_size=6)).encode() + encoded[:part]
    if encoded in thought:
        return
    begun = max(n for n in range(len(encoded)) if thought.endswith(encoded[:n]))
    text = thought + b"".join(map(write, forced[begun]))
    full = b"".join(map(write, whole))
    at = full.find(encoded)
    if at < 0 or not begun:
        assert text == thought + full
        return
    assert text == thought[: len(thought) - begun] + full[at:]
    assert text.index(encoded) == len(thought) - begun, "the begun part is the marker's own beginning"


def test_an_added_token_has_no_parts():
    """Its rest, spelled out, would not be the token that the model knows."""
    tokenizer = real_tokenizer("tekken, </think> added")
    whole = tuple(tokenizer.encode("</think>\n\n", add_special_tokens=False))
    assert lead_ins_of(tokenizer, whole, "</think>") == (whole,) * 8


@given(
    lead_in=st.lists(st.integers(0, 1), min_size=1, max_size=6).map(tuple),
    marker=st.lists(st.integers(0, 1), min_size=1, max_size=4).map(tuple),
    thought=st.lists(st.integers(0, 1), max_size=6),
)
def test_ids_are_completed_as_ids(lead_in, marker, thought):
    forced = lead_ins_by_tokens(lead_in, marker)
    starts = [at for at in range(len(lead_in)) if lead_in[at : at + len(marker)] == marker]
    end = EndOfThinking(None, marker)
    if end.find(thought) is not None:
        return
    begun = end.begun(thought)
    skipped = starts[0] + begun if starts and begun else 0
    assert forced[begun] == lead_in[skipped:] and len(forced) == len(marker)


def test_the_fewest_tokens_are_taken():
    tokens = {b"a": 0, b"ab": 1, b"bc": 2, b"c": 3}
    assert fewest_tokens(b"abc", tokens.get) in ((0, 2), (1, 3))
    assert fewest_tokens(b"", tokens.get) == () and fewest_tokens(b"b", tokens.get) is None


def test_a_lead_in_that_is_too_long_once_it_completes_a_marker_is_refused():
    """``ink`` is one token, and ``nk`` are two."""
    tokenizer = real_tokenizer("tekken")
    lead_in = tuple(tokenizer.encode("ink" + " x" * (MAX_FORCED - 1), add_special_tokens=False))
    assert len(lead_in) == MAX_FORCED
    with pytest.raises(ValueError, match="softthink.phase.lead_in is 32 tokens long, and 33 where it goes on"):
        lead_ins_of(tokenizer, lead_in, "ink x")
    assert len(lead_ins_of(tokenizer, lead_in[:-1], "ink x")) == 5
