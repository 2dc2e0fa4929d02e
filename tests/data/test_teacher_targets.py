"""Targets of a frozen teacher along given solutions, held against the teacher's own probabilities."""

import json

import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.data.prompts import boxed
from verl_softthink.data.sft_rows import SftRow
from verl_softthink.data.teacher_targets import TeacherSettings, blended, worked
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.tasks import generate


def command(*arguments: object):
    return CliRunner().invoke(app, ["data", "soft-targets", *map(str, arguments)])


def test_targets_of_the_pocket_reasoner(tmp_path):
    problems = generate("train", 6, seed=1)
    write_parquet(problems, tmp_path / "train.parquet")
    result = command(
        *("--model", checkpoint_path(), "--solutions", tmp_path / "train.parquet", "--out", tmp_path / "soft.parquet"),
        *("--top-k", 5, "--temperature", 0.7, "--solution-weight", 0.25, "--limit", 4),
    )
    assert result.exit_code == 0, result.output
    rows = [SftRow.of_dict(row) for row in pyarrow.parquet.read_table(tmp_path / "soft.parquet").to_pylist()]
    assert len(rows) == 4
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float64)
    for row, problem in zip(rows, problems, strict=False):
        thought = tokenizer.encode(";".join(problem.steps))
        assert tokenizer.decode(row.prompt) == f"<user>{problem.question}<assistant><think>"
        assert row.response == [*thought, *tokenizer.encode(f"</think>{problem.answer}<eos>")]
        assert [bool(ids) for ids, _ in row.targets] == [True] * len(thought) + [False] * 3
        with torch.no_grad():
            logits = model(torch.tensor([[*row.prompt, *row.response]])).logits[0]
        for position, (ids, weights) in enumerate(row.targets[: len(thought)]):
            probs = (logits[len(row.prompt) + position - 1] / 0.7).softmax(-1)
            top = probs.topk(5)
            expected = dict.fromkeys(ids, 0.0)
            for token, share in zip(top.indices.tolist(), (top.values / top.values.sum()).tolist(), strict=True):
                expected[token] = 0.75 * share
            expected[thought[position]] += 0.25
            assert dict(zip(ids, weights, strict=True)) == pytest.approx(expected, abs=1e-5)
            assert weights == sorted(weights, reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(1, 12), st.floats(0, 1), st.floats(0.05, 5), st.integers(0, 10**6))
def test_targets_are_distributions(thoughts, top_k, share, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 30 * torch.randn(thoughts, 9, generator=generator)
    tokens = torch.randint(9, (thoughts,), generator=generator).tolist()
    targets = blended(logits, tokens, TeacherSettings("</think>", top_k, temperature, share))
    SftRow([1], tokens, [1] * thoughts, targets)  # refuses what is no distribution
    for token, (ids, weights) in zip(tokens, targets, strict=True):
        assert len(ids) <= top_k + 1 and weights == sorted(weights, reverse=True)
        if share > 0:
            assert weights[ids.index(token)] >= share * (1 - 1e-6)


GSM8K = {"question": "Two and two?", "answer": "2 + 2 = 4\n#### 4"}
CHAT = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize(
    ("record", "marker", "expected"),
    [
        (GSM8K, "####", (boxed("Two and two?"), "2 + 2 = 4\n", " 4")),
        ({"problem": "p", "solution": "a</think>b</think>c"}, "</think>", (boxed("p"), "a", "b</think>c")),
        ({"prompt": CHAT, "response": "x</think>y", "answer": "y"}, "</think>", (CHAT, "x", "y")),
        (
            {"prompt": CHAT, "extra_info": {"solution": "w"}, "reward_model": {"ground_truth": "7"}},
            "</think>",
            (CHAT, "w", "7"),
        ),
    ],
)
def test_forms_of_a_record(record, marker, expected):
    assert worked(record, marker, boxed) == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "a"}, "record 1: no prompt and no question among the columns text"),
        ({"question": "q"}, "record 1: no solution among the columns question"),
        ({"prompt": "q", "response": "a</think>b"}, "record 1: column prompt: 'q' is no list of messages"),
        ({"prompt": CHAT, "extra_info": {"solution": "w"}, "reward_model": 7}, "record 1: column reward_model: 7"),
        (GSM8K, "record 1: the solution does not hold the end-of-thinking marker '</think>'"),
    ],
)
def test_records_that_cannot_be_read_are_named(record, message, tmp_path):
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps(record) + "\n")
    result = command("--model", checkpoint_path(), "--solutions", file, "--out", tmp_path / "soft.parquet")
    assert result.exit_code == 2 and result.stderr.startswith(str(file)) and message in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--temperature", 0, "temperature=0.0 must be above 0"),
        ("--end-of-thinking", "", "marker is empty"),
        ("--prompt", "loudly", "--prompt loudly is unknown"),
    ],
)
def test_settings_that_make_no_sense_are_refused(option, value, message, tmp_path):
    out = tmp_path / "soft.parquet"
    result = command("--model", checkpoint_path(), "--solutions", "none.jsonl", "--out", out, option, value)
    assert result.exit_code == 2 and message in result.stderr
