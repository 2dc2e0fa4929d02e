"""Whatever stands where an answer belongs: every reader takes texts and numbers, and refuses all else by name."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.data.guarded_reward import RewardSetupError, answer_text, check_ground_truth
from verl_softthink.data.parquet import training_row
from verl_softthink.data.prompts import PROMPTS
from verl_softthink.data.records import question_and_answer
from verl_softthink.data.sources import SOURCES
from verl_softthink.data.teacher_targets import worked
from verl_softthink.evaluation.problems import read_problems
from verl_softthink.methods.variational.offline.questions import read_questions

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.text(max_size=4) | st.just("#### 5"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("text"), inner, max_size=1),
    max_leaves=3,
)
ASK = PROMPTS["boxed"]
CHAT = [{"role": "user", "content": "q?"}]


def is_answer(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in ("", "none", "null", "nan")
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def in_verls_schema(value: object) -> dict:
    return {"prompt": CHAT, "reward_model": {"ground_truth": value}, "extra_info": {"solution": "s"}}


@given(VALUES)
def test_answers_are_texts_and_finite_numbers(value):
    if is_answer(value):
        assert answer_text(value) == check_ground_truth(value) == str(value).strip()
    else:
        with pytest.raises(ValueError, match="the answer is"):
            answer_text(value)
        with pytest.raises(RewardSetupError, match="which is no answer: give the row one"):
            check_ground_truth(value)


@pytest.mark.parametrize("name", SOURCES)
@given(value=VALUES)
def test_no_data_command_writes_a_container_as_an_answer(name, value):
    source = SOURCES[name]
    for record in ({source.question[0]: "q?", source.answer[0]: value}, in_verls_schema(value)):
        try:
            _, answer = question_and_answer(record, source)
        except ValueError:
            continue
        (given,) = value if isinstance(value, list) else [value]
        assert is_answer(given) and answer in str(given)
        row = training_row(source="", messages=CHAT, answer=answer, split="", index=0, question="q?")
        assert is_answer(row["reward_model"]["ground_truth"])


@settings(max_examples=50)
@given(value=VALUES)
def test_no_other_reader_takes_one(value, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "answers.jsonl"
    for record in ({"question": "q?", "answer": value}, in_verls_schema(value)):
        file.write_text(json.dumps(record) + "\n")
        try:
            (problem,) = read_problems(file, ASK)
        except ValueError:
            continue
        accepted = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
        assert all(map(is_answer, accepted)) and len(problem.answers) == len(accepted) > 0
    for read in (lambda: read_questions(file), lambda: worked(in_verls_schema(value), "</think>", ASK)):
        try:
            read()
        except ValueError:
            continue
        assert is_answer(value)
