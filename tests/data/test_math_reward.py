"""The reward of mathematical answers, called directly and as verl loads it."""

import importlib.util
from fractions import Fraction

import pytest

from verl_softthink.data import math_reward
from verl_softthink.data.math_reward import compute_score, extract_number, last_boxed, read_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("it is -3.", -3),
        ("\u22123", -3),
        ("10-3", 10),
        ("x-3", 3),
        ("$1,234.50", Fraction("1234.5")),
        ("1,2", 1),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        ("-1 / 2 of it", Fraction(-1, 2)),
        ("7%", 7),
        ("007", 7),
        ("5/0", None),
        ("no number", None),
        ("", None),
    ],
)
def test_first_number_of_a_text(text, number):
    assert read_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7\n#### 7", 7),
        ("3 + 4 = 7", 7),
        ("8 - 3 = 5 apples left.", 5),
        ("#### 1\n#### 2 apples and 9 pears", 2),
        ("we get 7\n####", None),
        (r"so \boxed{1{,}0} or \boxed{12}, that is 13", 12),
        (r"\boxed{\text{about } 5}", 5),
        (r"\boxed{12", 12),
        ("nothing", None),
    ],
)
def test_where_the_answer_is_looked_for(text, number):
    assert extract_number(text) == number


def test_boxes_are_matched_by_their_braces():
    assert last_boxed(r"\boxed{\frac{1}{2}} then") == r"\frac{1}{2}"
    assert last_boxed(r"\boxed{1} and \boxed{") is None
    assert last_boxed("none") is None


@pytest.mark.parametrize(
    ("solution", "truth", "score"),
    [
        ("#### 1,200", "1200", 1.0),
        ("#### 1200.0", "1,200", 1.0),
        ("#### 0.5", "1/2", 1.0),
        ("#### 12", "1200", 0.0),
        ("no answer", "7", 0.0),
        ("", "7", 0.0),
    ],
)
def test_score_compares_values(solution, truth, score):
    assert compute_score("any", solution, truth) == score


def test_mistakes_of_the_set_up_are_errors():
    with pytest.raises(ValueError, match="ground_truth='x' .*grader=math_verify"):
        compute_score("any", "#### 1", "x")
    with pytest.raises(ValueError, match="grader='maths' is unknown; use one of number, math_verify"):
        compute_score("any", "#### 1", "1", grader="maths")


@pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed")
def test_math_verify_knows_expressions():
    assert compute_score("any", r"hence \boxed{\frac{2}{4}}", r"\frac12", grader="math_verify") == 1.0
    assert compute_score("any", r"hence \boxed{\frac{3}{4}}", r"\frac12", grader="math_verify") == 0.0


def test_math_verify_is_missed_by_name(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'verl-softthink\[math\]'"):
        compute_score("any", "#### 1", "1", grader="math_verify")


@pytest.mark.parametrize("path", [math_reward.__file__, "pkg://verl_softthink.data.math_reward"])
def test_verl_loads_and_calls_it(path):
    import_utils = pytest.importorskip("verl.utils.import_utils")
    function = import_utils.load_extern_object(module_path=path, object_name="compute_score")
    arguments = {"data_source": "any", "solution_str": "#### 7", "ground_truth": "7", "extra_info": {"num_turns": 2}}
    assert function(**arguments, reward_router_address=None, reward_model_tokenizer=None) == 1.0
