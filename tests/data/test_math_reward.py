"""The reward of mathematical answers: the table of graded pairs, any text, and the call as verl makes it."""

import importlib.util
from collections import Counter

import pytest
from data.graded_pairs import BOTH, MATH, NUMBER, PAIRS
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.data import math_reward
from verl_softthink.data.guarded_reward import RewardSetupError
from verl_softthink.data.math_reward import compute_score

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)
#: What answers are made of, so that random texts come near to them.
PIECES = (
    *("\\boxed{", "\\fbox {", "{", "}", "####", "answer is", "Answer:", "\\frac", "\\text{", "\\\\", "\\(", "\\)", "$"),
    *("{,}", "\\,", ",", ".", "-", "\u2212", "+", "/", "^", "\\times 10^", "e", "=", "%", "1", "12", "0", "9" * 400),
    *(" ", "\n", "km", "and", "\ud800", "\u0663", "\x00", "\\sqrt", "\\!"),
)
#: The documented places, each with room for an answer.
ROOMS = (
    *("\\boxed{%s}", "so \\fbox{%s}.", "#### %s", "#### %s apples of 12", "The answer is %s.", "Answer: $%s$"),
    "it is %s",
)
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))


def unexpected(grader: str) -> list[tuple]:
    scored = [
        (pair, compute_score("any", pair.response, pair.truth, grader=grader))
        for pair in PAIRS
        if pair.grader == grader
    ]
    return [(pair, verdict) for pair, verdict in scored if verdict["score"] != pair.score or verdict["grader_failure"]]


def test_the_table_is_large_and_has_both_sides():
    count = Counter((pair.grader, pair.score) for pair in PAIRS)
    assert set(count) == {(grader, score) for grader in BOTH for score in (0.0, 1.0)} and min(count.values()) > 90
    assert len({(pair.response, pair.truth, pair.grader) for pair in PAIRS}) == len(PAIRS)


def test_every_pair_of_the_number_grader():
    assert unexpected(*NUMBER) == []


@needs_math_verify
def test_every_pair_of_math_verify():
    assert unexpected(*MATH) == []


@given(texts)
def test_no_text_raises_or_is_right_by_accident(text):
    verdict = compute_score("any", text, "7310")
    assert verdict == {"score": 0.0, "acc": 0.0, "grader_failure": 0.0}


@given(
    number=st.integers(-(10**9), 10**9),
    room=st.sampled_from(ROOMS),
    form=st.sampled_from(("{:d}", "{:,d}", "{:d}.0", "{:+d}")),
    before=st.lists(st.sampled_from((" 5 + 4 = 9.", " We look", " \\frac{3}{4}", " {1, 2}", " 2^{10} \n")), max_size=4),
)
def test_a_right_answer_in_a_documented_place_is_right(number, room, form, before):
    response = "".join(before) + " " + room % form.format(number)
    assert compute_score("any", response, str(number))["score"] == 1.0
    assert compute_score("any", response, str(number + 1))["score"] == 0.0


@pytest.mark.parametrize("grader", BOTH)
@pytest.mark.parametrize("truth", [None, "", "  ", float("nan"), "None", "null"])
def test_a_missing_ground_truth_is_a_mistake_of_the_data(grader, truth):
    with pytest.raises(RewardSetupError, match="reward_model.ground_truth is .*, which is no answer: give the row one"):
        compute_score("any", f"\\boxed{{{truth}}}", truth, grader=grader)


def test_mistakes_of_the_set_up_are_errors():
    with pytest.raises(RewardSetupError, match="ground_truth='x' .*grader=math_verify"):
        compute_score("any", "#### 1", "x")
    with pytest.raises(RewardSetupError, match="grader='maths' is unknown; use one of number, math_verify"):
        compute_score("any", "#### 1", "1", grader="maths")


def test_math_verify_is_missed_by_name(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'verl-softthink\[math\]'"):
        compute_score("any", "#### 1", "1", grader="math_verify")


@pytest.mark.parametrize("path", [math_reward.__file__, "pkg://verl_softthink.data.math_reward"])
def test_verl_loads_and_calls_it(path):
    import_utils = pytest.importorskip("verl.utils.import_utils")
    function = import_utils.load_extern_object(module_path=path, object_name="compute_score")
    arguments = {"data_source": "any", "solution_str": "#### 7", "ground_truth": "7", "extra_info": {"num_turns": 2}}
    assert function(**arguments, reward_router_address=None, reward_model_tokenizer=None)["score"] == 1.0
