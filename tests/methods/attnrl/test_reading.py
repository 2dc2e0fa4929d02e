"""A response as the plan sees it: steps of the tokenizer's text, the end of thinking, template tokens."""

import pytest
import torch
from transformers import AutoTokenizer

from verl_softthink.methods.attnrl.plan import BranchSettings, plan_branches
from verl_softthink.methods.attnrl.response_steps import Reader
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.trace import SoftTrace


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path(OVERTHINKING))


@pytest.fixture(scope="module")
def reader(tokenizer):
    return Reader(tokenizer, ("\n\n", "\n"), "</think>")


TEXT = "7+8=5\n=5\n5*3=5\n</think>5<eos>"


def ids(tokenizer, text=TEXT):
    return torch.tensor(tokenizer.encode(text))


def test_lines_are_steps_and_the_last_one_holds_the_answer(reader, tokenizer):
    response = ids(tokenizer)
    steps = reader.steps(response, len(response))
    assert [tokenizer.decode(part) for part in response.split(list(steps.lengths))] == [
        "7+8=5\n",
        "=5\n",
        "5*3=5\n",
        "</think>5<eos>",
    ]
    end = reader.end_of_thinking(response)
    assert end == sum(steps.lengths[:3])
    assert reader.end_of_thinking(response[:end]) is None


def test_tokens_of_the_template_belong_to_the_last_step(reader, tokenizer):
    response = ids(tokenizer, TEXT + "\n\n")
    sampled = len(ids(tokenizer))
    assert len(reader.steps(response, sampled)) == 4
    assert sum(reader.steps(response, sampled).lengths) == len(response)
    scored = reader.scored(response, sampled, influence=None, entropy=torch.zeros(len(response)), correct=True)
    assert not scored.eligible[sampled:].any()


def test_nothing_is_branched_behind_the_end_of_thinking(reader, tokenizer):
    response = ids(tokenizer)
    influence = torch.tensor([0.0, 0.1, 0.2, 0.9])
    entropy = torch.arange(len(response)).float()
    scored = reader.scored(response, len(response), influence=influence, entropy=entropy, correct=False)
    assert scored.influence.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.0])
    assert scored.eligible.nonzero()[:, 0].tolist() == list(range(reader.end_of_thinking(response) + 1))
    by_entropy = BranchSettings(points=2, continuations=1, branching="entropy", expansion="all")
    branches = plan_branches([scored], by_entropy, None, torch.Generator())
    end = reader.end_of_thinking(response)
    assert [branch.cut for branch in branches] == [end - 1, end]
    by_attention = BranchSettings(points=1, continuations=3, quantile=0.9, spacing=1)
    branches = plan_branches([scored], by_attention, None, torch.Generator())
    assert [branch.cut for branch in branches] == [scored.steps.starts[2]] * 3


def soft_trace(tokens, thinking, *, drawn_end, placed):
    """``thinking`` soft positions, a draw that ended them or none, ``placed`` tokens of phase control, an answer."""
    places = torch.arange(tokens)
    trace = SoftTrace.of_tokens(torch.zeros(tokens))
    trace.soft[:thinking] = True
    trace.drawn[: thinking + drawn_end] = True
    trace.forced[:] = (places >= thinking + drawn_end) & (places < thinking + drawn_end + placed)
    return trace


@pytest.mark.parametrize(
    ("drawn_end", "placed", "cuts"),
    [
        # The model ended its thought: that it did may be decided anew.
        (1, 0, [11, 12]),
        # Phase control did, and would again.
        (0, 1, [10, 11]),
        # A lead-in of other tokens than the marker's.
        (0, 3, [10, 11]),
    ],
)
def test_a_soft_response_ends_thinking_where_its_trace_says(reader, tokenizer, drawn_end, placed, cuts):
    """Whatever its tokens look like: none of them is the marker."""
    response = ids(tokenizer, "7+8=5\n=5\n5*3=5\n5*3=5\n")
    trace = soft_trace(len(response), 12, drawn_end=drawn_end, placed=placed)
    assert reader.end_of_thinking(response) is None
    entropy = torch.arange(len(response)).float()
    scored = reader.scored(response, len(response), influence=torch.ones(4), entropy=entropy, correct=True, trace=trace)
    by_entropy = BranchSettings(points=2, continuations=1, branching="entropy", expansion="all")
    assert [branch.cut for branch in plan_branches([scored], by_entropy, None, torch.Generator())] == cuts
    step = scored.steps.of_token(12)
    assert scored.influence[step:].tolist() == [0.0] * (len(scored.steps) - step)
    by_attention = BranchSettings(points=9, continuations=1, quantile=0.0, spacing=1)
    starts = [branch.cut for branch in plan_branches([scored], by_attention, None, torch.Generator())]
    assert starts == [start for start in scored.steps.starts[1:] if start <= cuts[-1]]
