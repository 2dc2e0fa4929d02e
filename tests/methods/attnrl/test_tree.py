"""Values and advantages: the worked example of the method's description, an oracle, and the edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.tree_values import advantages as oracle

from verl_softthink.methods.attnrl.tree import Continuation, InitialResponse, has_signal, leaf_rows, nodes, root_value

BRANCHED = InitialResponse(
    9, 1.0, (Continuation(3, 4, 1.0), Continuation(3, 5, 0.0), Continuation(6, 2, 1.0), Continuation(6, 6, 1.0))
)
PROMPT = [BRANCHED, InitialResponse(7, 0.0)]


def test_the_worked_example():
    assert root_value(PROMPT) == pytest.approx(4 / 6)
    found = {(node.continuation, node.start, node.end): node for node in nodes(PROMPT)}
    assert {key: round(node.advantage, 4) for key, node in found.items()} == {
        (None, 0, 3): 0.1193,
        (None, 3, 6): 0.3079,
        (None, 6, 9): 0.3333,
        (0, 3, 7): 0.5333,
        (1, 3, 8): -1.4667,
        (2, 6, 8): 0.3333,
        (3, 6, 12): 0.3333,
    }
    assert [found[None, start, end].leaves for start, end in ((0, 3), (3, 6), (6, 9))] == [5, 3, 1]


@st.composite
def prompts(draw):
    responses = []
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, 8))
        value = float(draw(st.integers(0, 1)))
        continuations = ()
        if length > 1:
            continuations = tuple(
                Continuation(draw(st.integers(1, length - 1)), draw(st.integers(1, 5)), float(draw(st.integers(0, 1))))
                for _ in range(draw(st.integers(0, 5)))
            )
        responses.append(InitialResponse(length, value, continuations))
    return responses


@settings(deadline=None)
@given(prompts())
def test_rows_carry_the_advantages_of_the_tree(responses):
    """With tokens that agree exactly where the tree says so."""
    leaves, counted = [], []
    for index, response in enumerate(responses):
        trunk = tuple((index, position) for position in range(response.length))
        texts = [(trunk, response.value)]
        for number, c in enumerate(response.continuations):
            own = tuple((index, number, position) for position in range(c.length))
            texts.append((trunk[: c.cut] + own, c.value))
        (leaves if response.continuations else counted).extend(texts)
    rows = leaf_rows(responses)
    wanted = oracle(leaves, counted)
    assert len(rows) == len(wanted)
    for row, values in zip(rows, wanted, strict=True):
        torch.testing.assert_close(row.advantages, torch.tensor(values), atol=1e-6, rtol=0)


def test_a_prompt_without_branches_trains_nothing():
    assert leaf_rows([InitialResponse(5, 1.0), InitialResponse(1, 0.0)]) == []
    assert nodes([]) == []


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_prompts_that_are_always_right_or_wrong_have_no_advantage(value):
    response = InitialResponse(6, value, (Continuation(2, 3, value), Continuation(5, 1, value)))
    assert all(not row.advantages.any() for row in leaf_rows([response]))
    assert not has_signal([response])
    assert has_signal([response, InitialResponse(3, 1 - value)])


def test_impossible_branches_are_refused():
    with pytest.raises(ValueError, match="keeps 4 of 4 tokens: cut behind the first token and before the last"):
        InitialResponse(4, 1.0, (Continuation(4, 2, 1.0),))
    with pytest.raises(ValueError, match="keeps 0 of 4 tokens"):
        InitialResponse(4, 1.0, (Continuation(0, 2, 1.0),))
    with pytest.raises(ValueError, match="no tokens: leave out aborted continuations"):
        InitialResponse(4, 1.0, (Continuation(2, 0, 1.0),))
    with pytest.raises(ValueError, match="responses is empty"):
        root_value([])
