"""In which contexts a published tokenizer hides a marker from a comparison of ids."""

import pytest
from support.real_tokenizers import MAKERS, real_tokenizer

from verl_softthink.doctor.marker import hiding_contexts
from verl_softthink.thinking import EndOfThinking


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "pocket"])
@pytest.mark.parametrize("marker", ["</think>", "The final answer is:"])
def test_ids_miss_the_marker_there_and_the_text_does_not(name, marker):
    tokenizer = real_tokenizer(name)
    by_ids, by_text = EndOfThinking(tokenizer, marker, "tokens"), EndOfThinking(tokenizer, marker)
    before, behind = hiding_contexts(tokenizer, marker)
    for text in (*(context + marker for context in before), *(marker + context for context in behind)):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert by_ids.find(ids) is None and by_text.find(ids) is not None
    assert bool(before or behind) == (marker not in tokenizer.get_added_vocab())


def test_merges_over_both_ends_are_named():
    before, behind = hiding_contexts(real_tokenizer("tekken"), "</think>")
    assert {"x ", " ", "."} <= set(before) and {"\n", "\n\n"} <= set(behind)
    assert "x" not in before and "The" not in behind
