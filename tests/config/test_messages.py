"""Values in messages: short, printable, and quick to show however large they are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.config.messages import shown

SHORT = 1200
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    "value",
    [list(range(10**7)), "x" * 10**7, b"x" * 10**7, 10**10**5, dict.fromkeys(range(10**5), "y" * 10**4)],
    ids=["list", "text", "bytes", "number", "dictionary"],
)
def test_a_value_of_any_size_is_shown_in_a_line(value):
    start = time.process_time()
    assert len(shown(value)) < SHORT * 3
    assert time.process_time() - start < 1


def test_short_values_are_shown_whole():
    for value in (5, -0.25, "</think>", [3, 4], {"name": "gumbel", "tau": 0.1}, None, b"ab"):
        assert shown(value) == repr(value)


@given(VALUES)
def test_what_is_shown_can_be_sent(value):
    shown(value).encode()
