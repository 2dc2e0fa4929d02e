"""Scoring, storing and summing up of samples."""

import importlib.util

import pytest

from verl_softthink.errors import FileError
from verl_softthink.evaluation.samples import Response, Sample
from verl_softthink.evaluation.scoring import grade, resolve_reward
from verl_softthink.evaluation.store import SampleStore
from verl_softthink.evaluation.summary import summarise, table
from verl_softthink.files.work_folder import WorkFolder


def _sample(problem, number, correct, *, tokens=4, finish="stop", end_reason="marker"):
    text = f"7</think>{7 if correct else 8}"
    response = Response(text=text, tokens=tokens, thinking=2, finish=finish, end_reason=end_reason)
    return Sample(problem=problem, sample=number, correct=correct, response=response)


def test_one_of_the_accepted_answers_suffices():
    texts = ["1</think>7", "1</think>8", "1</think>7", "7"]
    assert grade(texts, [("7",), ("7", "8"), ("8",), ("7",)], "pocket") == [True, True, False, False]
    assert grade(["#### 7", "#### 8"], [("7.0",), ("7",)], "number") == [True, False]


@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed")
def test_math_verify_grades():
    assert grade([r"\boxed{\frac24}", r"\boxed{1}"] * 2, [(r"\frac12",)] * 4, "math_verify") == [True, False] * 2


def test_the_reward_follows_the_data_set():
    assert resolve_reward("auto", "pocket/clock_arithmetic") == "pocket"
    assert resolve_reward("auto", "pocket/permutation_words") == "pocket"
    assert resolve_reward("auto", "pockets") == "math_verify"
    assert resolve_reward("auto", "gsm8k") == "math_verify"
    assert resolve_reward("number", "gsm8k") == "number"


def test_a_chunk_comes_back_and_a_half_written_one_does_not_count(tmp_path):
    store = SampleStore(WorkFolder(tmp_path, {}, option="--out"))
    samples = [_sample(0, 0, True), _sample(0, 1, False)]
    store.path("gumbel", 3).parent.mkdir(parents=True)
    store.path("gumbel", 3).with_suffix(".json.partial").write_text("[")
    assert not store.has("gumbel", 3)
    store.write("gumbel", 3, samples)
    assert store.has("gumbel", 3) and store.read("gumbel", 3) == samples


@pytest.mark.parametrize("content", ["", "{}", "[3]", '[{"problem": 0}]', "[[" * 9_000])
def test_a_damaged_chunk_is_refused_by_its_path(tmp_path, content):
    store = SampleStore(WorkFolder(tmp_path, {}, option="--out"))
    store.write("gumbel", 0, [])
    store.path("gumbel", 0).write_text(content)
    with pytest.raises(FileError, match="gumbel/00000.json: .* remove the file, and its samples are drawn again"):
        store.read("gumbel", 0)


def test_every_sample_is_counted():
    samples = [_sample(p, s, correct=s < p) for p in range(3) for s in range(4)]
    samples[0] = _sample(0, 0, False, tokens=0, finish="prompt_too_long", end_reason="none")
    samples[1] = _sample(0, 1, False, tokens=8, finish="length", end_reason="budget")
    summary = summarise(samples, problems=3, per_problem=4, ks=(1, 2, 8), reward="pocket", seed=0)
    assert summary["pass_at_k"]["k"] == [1, 2]
    # Right out of four: 0, 1 and 2.
    assert summary["pass_at_k"]["mean"] == pytest.approx([(0 + 1 / 4 + 2 / 4) / 3, (0 + 3 / 6 + 5 / 6) / 3])
    # Pairs in their order: 8 8 and 8 8; 7 8, a tie, and 8 8; 7 7 and 8 8.
    assert summary["majority_at_k"]["mean"] == pytest.approx([(0 + 1 / 4 + 2 / 4) / 3, (0 + 1 / 4 + 1 / 2) / 3])
    assert summary["finish"] == {"prompt_too_long": 1, "length": 1, "stop": 10}
    assert summary["end_of_thinking"] == {"none": 1, "budget": 1, "marker": 10}
    assert (summary["samples"], summary["correct"], summary["mean_tokens"]) == (12, 3, 4.0)
    for name in ("low", "high"):
        assert len(summary["pass_at_k"][name]) == len(summary["majority_at_k"][name]) == 2
    rows = table({"mixture_of_inputs": summary}, "title")
    assert "…" not in _printed(rows)
    assert rows.row_count == 1 and [column.header for column in rows.columns][1:4] == ["pass@1", "pass@2", "maj@2"]


def _printed(rows) -> str:
    from rich.console import Console

    console = Console(width=80)
    with console.capture() as captured:
        console.print(rows)
    return captured.get()


@pytest.mark.parametrize("missing", [0, 5, 11])
def test_a_lost_sample_is_an_error(missing):
    samples = [_sample(p, s, True) for p in range(3) for s in range(4)]
    del samples[missing]
    with pytest.raises(ValueError, match="there must be 4 of each of 3"):
        summarise(samples, problems=3, per_problem=4, ks=(1,), reward="pocket", seed=0)
