"""Texts that a method looks for and no response contains: a sentence each, which names the key."""

import pytest

from methods.test_responses import MARKER, responses
from verl_softthink.methods.attnrl.doubts import doubts as attnrl
from verl_softthink.methods.repro.cuts import segment_starts
from verl_softthink.methods.repro.delimiters import build_delimiter_table
from verl_softthink.methods.repro.doubts import _segmented
from verl_softthink.methods.repro.doubts import doubts as repro
from verl_softthink.methods.settings import parse_node
from verl_softthink.methods.variational.doubts import doubts as variational

STEP = "a.\nb"


def node(**groups):
    return parse_node(groups)


@pytest.mark.parametrize(
    ("texts", "keys"),
    [
        ([f"{STEP}{MARKER}\\boxed{{4}}"], []),
        (["ab4"], ["phase.end_of_thinking", "repro.delimiters", "repro.answer"]),
        # Delimiters of the answer divide no thought, and one at the end of a thought makes no second piece.
        ([f"ab{MARKER}\n\n\\boxed{{4}}"], ["repro.delimiters"]),
        ([f"ab.\n{MARKER}\\boxed{{4}}"], ["repro.delimiters"]),
        ([f"ab{MARKER}4", f"{STEP}{MARKER}\\boxed{{5}}"], []),
    ],
)
def test_repro(texts, keys):
    found = repro(responses(*texts), node(repro={}))
    assert [sentence.partition("=")[0] for sentence in found] == [f"softthink.{key}" for key in keys]


@pytest.mark.parametrize("pieces", [["a", ".", "\n", "b"], ["a.\n", "b"], ["a.\n"], ["a", ".\nb", "c"], ["a", ".\n"]])
def test_a_thought_is_divided_where_repros_own_matcher_divides_it(pieces):
    import torch

    table = build_delimiter_table(pieces, [".\n"])
    ends = table.segment_ends(torch.arange(len(pieces)))
    assert _segmented(pieces, [".\n"]) == bool(len(segment_starts(ends, len(pieces))))


def test_attnrl():
    (sentence,) = attnrl(responses("a b", "c"), node(attnrl={"separators": ["\n\n", "\n"]}))
    assert sentence.startswith("softthink.attnrl.separators=['\\n\\n', '\\n']: no token of the 2 responses")
    assert attnrl(responses("a", "b\nc"), node(attnrl={})) == []
    # As steps are found: within single tokens.
    split = responses("\n\n", pieces=[["\n", "\n"]])
    assert len(attnrl(split, node(attnrl={"separators": ["\n\n"]}))) == 1
    by_entropy = {"branching": "entropy", "attention_filter": False}
    assert attnrl(responses("a"), node(attnrl=by_entropy)) == []


def test_variational():
    assert variational(responses("a"), node(variational={})) == []
    (sentence,) = variational(responses("a"), node(variational={"resampled_answers": 2}))
    assert sentence.startswith("softthink.phase.end_of_thinking=") and "the reward of each is 0" in sentence
    scored = {"answer": "product", "answer_template": "= {answer}"}
    marked = f"a{MARKER}4"
    (sentence,) = variational(responses(marked), node(variational=scored))
    assert sentence.startswith("softthink.variational.answer_template='= {answer}': none of the 1 responses")
    assert variational(responses(f"a{MARKER}= 4"), node(variational=scored)) == []
