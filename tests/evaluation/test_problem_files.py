"""Problems as benchmarks publish them: tiny files of the same shape."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from verl_softthink.data.prompts import PROMPTS
from verl_softthink.evaluation.problems import read_problems

BOXED = PROMPTS["boxed"]
VERL = {
    "data_source": "aime24",
    "prompt": [{"role": "user", "content": "Find n."}],
    "ability": "math",
    "reward_model": {"ground_truth": ["204", "205"], "style": "rule"},
    "extra_info": {"index": 0, "split": "test"},
}


@pytest.mark.parametrize(
    ("record", "answers"),
    [
        ({"question": "2+2?", "answer": "2+2=<<2+2=4>>4\n#### 1,004"}, ("1004",)),
        ({"question": "2+2?", "answer": 4}, ("4",)),
        ({"problem": "2+2?", "answer": r"\frac12", "solution": r"\boxed{3}", "unique_id": "a"}, (r"\frac12",)),
        ({"ID": "2024-I-1", "Problem": "2+2?", "Solution": "so", "Answer": 204}, ("204",)),
        ({"problem": "2+2?", "solution": r"it is \boxed{\frac{1}{2}}", "level": "Level 1"}, (r"\frac{1}{2}",)),
        ({"problem": "2+2?", "answer": ["4", " 5 "]}, ("4", "5")),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_question_and_answer(tmp_path, record, answers, suffix):
    path = tmp_path / f"bench{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist([record, record]), path)
    elif suffix == ".json":
        path.write_text(json.dumps([record, record]))
    else:
        path.write_text(f"{json.dumps(record)}\n\n{json.dumps(record)}\n")
    first, second = read_problems(path, BOXED)
    assert (first.index, second.index, first.source) == (0, 1, "bench")
    assert first.answers == answers
    assert list(first.messages) == BOXED("2+2?")


def test_verl_rows_keep_their_prompt_and_every_accepted_answer(tmp_path):
    path = tmp_path / "aime.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([VERL]), path)
    (problem,) = read_problems(path, BOXED)
    assert problem.source == "aime24" and problem.answers == ("204", "205")
    assert list(problem.messages) == VERL["prompt"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "2+2?"}, r"bench.jsonl, row 0: no question among the columns text"),
        ({"question": "2+2?"}, r"row 0: the answer is None"),
        ({"question": "2+2?", "answer": " "}, r"row 0: the answer is ' '"),
        ({"question": "2+2?", "answer": float("nan")}, r"row 0: the answer is nan"),
        ({"problem": "2+2?", "solution": "no box"}, r"row 0: the answer is None"),
        ({"question": "2+2?", "answer": []}, r"row 0: the answer is \[\]"),
    ],
)
def test_what_a_row_lacks_is_named(tmp_path, record, message):
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=message):
        read_problems(path, BOXED)
