"""Segmentation of a response into steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.methods.attnrl.steps import SteppedSequence, Steps, segment

TEXTS = st.lists(st.sampled_from(["a", "b", "\n", ".\n", "\n\n", ".\n\n", "\n\n\n"]), max_size=12)


@pytest.mark.parametrize(
    ("texts", "lengths"),
    [
        (["a", "b", ".\n\n", "c", "\n", "\n\n", "d"], (3, 3, 1)),
        (["a", "\n\n"], (2,)),
        (["a", "\n", "b", ".\n", "c"], (2, 2, 1)),
        (["\n\n", "\n\n"], (1, 1)),
        # Two separate line ends make no token that contains a blank line.
        (["a", "\n", "\n", "b"], (2, 1, 1)),
        (["a", "b", "c"], (1, 1, 1)),
        (["a"], (1,)),
        ([], ()),
    ],
)
def test_the_separator_ends_the_step_it_belongs_to(texts, lengths):
    assert segment(texts).lengths == lengths


@settings(deadline=None)
@given(TEXTS)
def test_steps_cover_the_response_and_end_with_separators(texts):
    steps = segment(texts)
    assert sum(steps.lengths) == len(texts)
    separator = next((s for s in ("\n\n", "\n") if any(s in text for text in texts)), "")
    for start, length in zip(steps.starts, steps.lengths, strict=True):
        body = texts[start : start + length]
        assert not separator or all(separator not in text for text in body[:-1])
        assert separator in body[-1] or start + length == len(texts)


@settings(deadline=None)
@given(TEXTS)
def test_a_token_is_found_in_its_step(texts):
    steps = segment(texts)
    for position in range(len(texts)):
        step = steps.of_token(position)
        assert steps.starts[step] <= position < steps.starts[step] + steps.lengths[step]


def test_a_position_outside_the_response_is_refused():
    with pytest.raises(ValueError, match="position 5 is outside the response, which has 5 tokens"):
        Steps((2, 3)).of_token(5)
    with pytest.raises(ValueError, match="position -1"):
        Steps((2, 3)).of_token(-1)


def test_an_empty_step():
    with pytest.raises(ValueError, match=r"lengths=\(3, 0\): a prompt and every step have at least one token"):
        SteppedSequence(0, 0, (3, 0))
