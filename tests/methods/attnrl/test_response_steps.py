"""Parsed responses: steps of the tokenizer's text, the end of thinking, template tokens."""

import pytest
import torch
from transformers import AutoTokenizer

from verl_softthink.methods.attnrl.plan import plan_branches
from verl_softthink.methods.attnrl.response_steps import ResponseParser
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.trace import SoftTrace


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path(OVERTHINKING))


@pytest.fixture(scope="module")
def parser(tokenizer):
    return ResponseParser(tokenizer, ("\n\n", "\n"), "</think>")


TEXT = "7+8=5\n=5\n5*3=5\n</think>5<eos>"


def ids(tokenizer, text=TEXT):
    return torch.tensor(tokenizer.encode(text))


def test_lines_are_steps_and_the_last_one_holds_the_answer(parser, tokenizer):
    response = ids(tokenizer)
    steps = parser.steps(response, len(response))
    assert [tokenizer.decode(part) for part in response.split(list(steps.lengths))] == [
        "7+8=5\n",
        "=5\n",
        "5*3=5\n",
        "</think>5<eos>",
    ]
    end = parser.end_of_thinking(response)
    assert end == sum(steps.lengths[:3])
    assert parser.end_of_thinking(response[:end]) is None


def test_tokens_of_the_template_belong_to_the_last_step(parser, tokenizer):
    response = ids(tokenizer, TEXT + "\n\n")
    sampled = len(ids(tokenizer))
    assert len(parser.steps(response, sampled)) == 4
    assert sum(parser.steps(response, sampled).lengths) == len(response)
    scored = parser.scored(response, sampled, influence=None, entropy=torch.zeros(len(response)), correct=True)
    assert not scored.eligible[sampled:].any()


def test_nothing_is_branched_behind_the_end_of_thinking(parser, tokenizer):
    response = ids(tokenizer)
    influence = torch.tensor([0.0, 0.1, 0.2, 0.9])
    entropy = torch.arange(len(response)).float()
    scored = parser.scored(response, len(response), influence=influence, entropy=entropy, correct=False)
    assert scored.influence.tolist() == pytest.approx([0.0, 0.1, 0.2, 0.0])
    assert scored.eligible.nonzero()[:, 0].tolist() == list(range(parser.end_of_thinking(response) + 1))
    by_entropy = AttnrlSettings(points=2, continuations=1, branching="entropy", expansion="all", attention_filter=False)
    branches = plan_branches([scored], by_entropy, None, torch.Generator())
    end = parser.end_of_thinking(response)
    assert [branch.cut for branch in branches] == [end - 1, end]
    by_attention = AttnrlSettings(points=1, continuations=3, quantile=0.9, spacing=1)
    branches = plan_branches([scored], by_attention, None, torch.Generator())
    assert [branch.cut for branch in branches] == [scored.steps.starts[2]] * 3


def soft_trace(tokens, thinking, *, drawn_end, forced):
    """``thinking`` soft positions, perhaps a draw that ended them, ``forced`` tokens of phase control, an answer."""
    places = torch.arange(tokens)
    trace = SoftTrace.of_tokens(torch.zeros(tokens))
    trace.soft[:thinking] = True
    trace.drawn[: thinking + drawn_end] = True
    trace.forced[:] = (places >= thinking + drawn_end) & (places < thinking + drawn_end + forced)
    return trace


@pytest.mark.parametrize(
    ("drawn_end", "forced", "cuts"),
    [
        # The model ended thinking: that decision may be resampled.
        (1, 0, [11, 12]),
        # Phase control forced the end, and would force it again.
        (0, 1, [10, 11]),
        # Forced tokens before the marker.
        (0, 3, [10, 11]),
    ],
)
def test_a_soft_response_ends_thinking_where_its_trace_says(parser, tokenizer, drawn_end, forced, cuts):
    """Whatever its tokens look like: none of them is the marker."""
    response = ids(tokenizer, "7+8=5\n=5\n5*3=5\n5*3=5\n")
    trace = soft_trace(len(response), 12, drawn_end=drawn_end, forced=forced)
    assert parser.end_of_thinking(response) is None
    entropy = torch.arange(len(response)).float()
    scored = parser.scored(response, len(response), influence=torch.ones(4), entropy=entropy, correct=True, trace=trace)
    by_entropy = AttnrlSettings(points=2, continuations=1, branching="entropy", expansion="all", attention_filter=False)
    assert [branch.cut for branch in plan_branches([scored], by_entropy, None, torch.Generator())] == cuts
    step = scored.steps.of_token(12)
    assert scored.influence[step:].tolist() == [0.0] * (len(scored.steps) - step)
    by_attention = AttnrlSettings(points=9, continuations=1, quantile=0.0, spacing=1)
    starts = [branch.cut for branch in plan_branches([scored], by_attention, None, torch.Generator())]
    assert starts == [start for start in scored.steps.starts[1:] if start <= cuts[-1]]
