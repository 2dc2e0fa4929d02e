"""Segments and cuts; the matcher of delimiters against string search, over byte-level and character tokenizers."""

import random

import pytest
import torch

from verl_softthink.methods.repro.cuts import (
    MAY_CUT,
    MUST_CUT,
    NO_CUT,
    cut_kinds,
    segment_starts,
    select_cuts,
    thinking_region,
)
from verl_softthink.methods.repro.delimiters import DELIMITERS, build_delimiter_table
from verl_softthink.pocket.model import MAX_LENGTH
from verl_softthink.pocket.tokenizer import build_tokenizer
from verl_softthink.thinking import EndOfThinking

# Qwen writes ".\n\n" as one token; others write it as three.
VOCABULARY = ["a", "b.", ".", "?", "\n", "\n\n", ".\n\n", "?\n", " ", "", "\n ", ".\n\n\n", "\n.", "c?\n\nd"]


def ends_by_string_search(texts: list[str], delimiters) -> list[bool]:
    """The same by the definition: does the text so far end with a delimiter, and does no blank token prolong it?"""

    def closes(end: int) -> bool:
        # A token without text cuts the text in two.
        start = max((i + 1 for i in range(end + 1) if not texts[i]), default=0)
        return "".join(texts[start : end + 1]).endswith(tuple(delimiters)) if texts[end] else False

    marks = [closes(i) for i in range(len(texts))]
    return [
        mark and not (i + 1 < len(texts) and marks[i + 1] and texts[i + 1].isspace()) for i, mark in enumerate(marks)
    ]


@pytest.mark.parametrize("delimiters", [DELIMITERS, (";",), ("\n",), ("aab", "ab", "\n\n\n")], ids=repr)
def test_matcher_agrees_with_string_search_on_random_text(delimiters):
    rng = random.Random(0)
    texts = [*VOCABULARY, "ab", "aa", ";", "x;"]
    table = build_delimiter_table(texts, delimiters)
    for length in [1, 2, 3, *[40] * 60]:
        ids = [[rng.randrange(len(texts)) for _ in range(length)] for _ in range(8)]
        ours = table.segment_ends(torch.tensor(ids))
        theirs = torch.tensor([ends_by_string_search([texts[i] for i in row], delimiters) for row in ids])
        assert torch.equal(ours, theirs)


def test_segments_of_a_text():
    tokenizer = build_tokenizer(MAX_LENGTH)
    table = build_delimiter_table([tokenizer.decode([i]) for i in range(len(tokenizer))])
    text = "3.5 is.\nWait?\n\nNo\n\n\n\nend.\n"
    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False))
    starts = segment_starts(table.segment_ends(ids), len(ids))
    pieces = torch.tensor_split(ids, starts)
    assert [tokenizer.decode(piece) for piece in pieces] == ["3.5 is.\n", "Wait?\n\n", "No\n\n\n\n", "end.\n"]


def test_no_or_empty_delimiters_are_refused():
    for delimiters in ((), ("\n", "")):
        with pytest.raises(ValueError, match="give at least one, and none that is empty"):
            build_delimiter_table(["a"], delimiters)


def test_thinking_region():
    response = torch.tensor([5, 6, 8, 9, 6, 8, 9, 1])
    two, first, none = (EndOfThinking(None, marker) for marker in ([8, 9], [5], [7]))
    assert thinking_region(response, two, {1}) == 2, "the first marker ends thinking"
    assert thinking_region(response, first, {1}) == 0, "empty thinking"
    assert thinking_region(response, none, {1}) == 7, "no marker: all but the stop token"
    assert thinking_region(response[:-1], none, {1}) == 7, "truncated: all of it"
    assert thinking_region(response[:3], two, {1}) == 3, "half a marker is none"
    assert thinking_region(response[:1], two, {1}) == 1, "shorter than the marker"
    assert thinking_region(torch.tensor([1]), two, {1}) == 0, "nothing but a stop token"


def test_cut_kinds():
    ends = torch.tensor([False, True, False, True, True, False])
    starts = segment_starts(ends, 5)
    assert starts.tolist() == [2, 4]
    assert cut_kinds(starts, 5, 6).tolist() == [MUST_CUT, NO_CUT, MAY_CUT, NO_CUT, MAY_CUT, MUST_CUT, NO_CUT]
    assert segment_starts(ends, 4).tolist() == [2], "a segment that ends with the region has none after it"
    assert segment_starts(ends, 1).tolist() == segment_starts(ends, 0).tolist() == []
    assert cut_kinds(segment_starts(ends, 0), 0, 2).tolist() == [MUST_CUT, NO_CUT, NO_CUT], "empty thinking"
    assert cut_kinds(segment_starts(ends[:1], 1), 1, 1).tolist() == [MUST_CUT, MUST_CUT], "one segment"


def test_selection_keeps_the_highest_entropies_and_the_ends():
    kinds = torch.tensor([MUST_CUT, MAY_CUT, NO_CUT, MAY_CUT, MAY_CUT, NO_CUT, MAY_CUT, MUST_CUT, NO_CUT])
    entropy = torch.tensor([9.0, 0.5, 9.0, 0.7, 0.1, 9.0, 0.5, 9.0, 9.0])
    assert select_cuts(kinds, entropy, 2).tolist() == [0, 1, 3, 7], "the earlier one of two equal entropies"
    assert select_cuts(kinds, entropy, 20).tolist() == [0, 1, 3, 4, 6, 7]
    assert select_cuts(torch.tensor([MUST_CUT, NO_CUT, NO_CUT]), torch.zeros(3), 2).tolist() == [0]
