"""A response as the plan sees it: steps of the tokenizer's text, the end of thinking, template tokens."""

import pytest
import torch
from transformers import AutoTokenizer

from verl_softthink.branching.plan import BranchSettings, plan_branches
from verl_softthink.branching.reading import Reader
from verl_softthink.pocket import OVERTHINKING, checkpoint_path


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
