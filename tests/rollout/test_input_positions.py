"""Bookkeeping of fed rows against a loop over every scheduled token."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.rollout.input_positions import input_positions

#: Prompt length, positions computed before, tokens scheduled now, soft.
REQUESTS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 12), st.integers(1, 8), st.booleans()), min_size=1, max_size=8
)


@given(REQUESTS)
def test_rows_are_those_of_a_loop_over_tokens(requests):
    expected, row = [], 0
    for number, (prompt, computed, scheduled, soft) in enumerate(requests):
        for position in range(computed, computed + scheduled):
            if soft and position >= prompt:
                expected.append((row, number, position - prompt))
            row += 1
    prompts, computed, scheduled, soft = (np.array(column) for column in zip(*requests, strict=True))
    starts = np.concatenate(([0], np.cumsum(scheduled)))
    found = input_positions(starts, computed - prompts, soft)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == expected
