"""100, 10 or 0: right, wrong in its place, or nothing there."""

import importlib.util

import pytest

from verl_softthink.data.graded_reward import compute_score
from verl_softthink.data.guarded_reward import RewardSetupError

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)


@pytest.mark.parametrize(
    ("solution", "score"),
    [
        (r"so it is \boxed{7}", 100),
        (r"\boxed{1} but no: The final answer is: \boxed{7.0}.", 100),
        (r"it is 7, \boxed{8}", 10),
        (r"\boxed{x}", 10),
        ("the answer is 7", 0),
        (r"it is 7 \boxed{}", 0),
        (r"it is \boxed{7", 0),
        (r"first \boxed{7}, again \boxed{8", 100),
        (r"\boxed{7, 8}", 10),
        ("", 0),
    ],
)
def test_number(solution, score):
    result = compute_score("any", solution, "7", grader="number")
    assert result == {
        "score": score,
        "acc": float(score == 100),
        "answered": float(score > 0),
        "grader_failure": 0.0,
    }


@pytest.mark.parametrize(
    ("solution", "score"),
    [
        ("7+8=5</think>5", 100),
        ("7+8=5</think> 5 ", 100),
        ("7+8=6</think>6", 10),
        ("7+8=5</think>five", 10),
        ("7+8=5", 0),
        ("7+8=5</think>", 0),
        ("7+8=5</think>5</think>5", 0),
    ],
)
def test_pocket(solution, score):
    assert compute_score("any", solution, "5", grader="pocket")["score"] == score


@needs_math_verify
@pytest.mark.parametrize(
    ("solution", "score"), [(r"\boxed{\frac{2}{4}}", 100), (r"\boxed{\frac34}", 10), (r"\frac12", 0)]
)
def test_math_verify_is_the_default(solution, score):
    assert compute_score("any", solution, r"\frac12")["score"] == score


def test_unknown_grader():
    with pytest.raises(ValueError, match="grader='maths' is unknown; use one of number, math_verify, pocket"):
        compute_score("any", "", "1", grader="maths")


@pytest.mark.parametrize("grader", ["number", "pocket"])
def test_a_missing_ground_truth_is_a_mistake_of_the_data(grader):
    with pytest.raises(RewardSetupError, match="reward_model.ground_truth is None, which is no answer"):
        compute_score("any", "\\boxed{None}", None, grader=grader)


@needs_math_verify
def test_verl_loads_and_calls_it():
    import_utils = pytest.importorskip("verl.utils.import_utils")
    function = import_utils.load_extern_object(
        module_path="pkg://verl_softthink.data.graded_reward", object_name="compute_score"
    )
    arguments = {"data_source": "any", "solution_str": r"\boxed{7}", "ground_truth": "7", "extra_info": {}}
    assert function(**arguments, reward_router_address=None, reward_model_tokenizer=None)["score"] == 100
