"""The exact-match reward, called as verl's reward managers call it."""

import pytest

from verl_softthink.pocket import reward


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("7+8=5;5*3=5</think>5", 1.0),
        ("</think>5", 1.0),
        ("7+8=5</think> 5\n", 1.0),
        ("7+8=5;5*3=5</think>6", 0.0),
        ("7+8=5;5*3=5", 0.0),
        ("5", 0.0),
        ("7+8=5</think>6</think>5", 0.0),
        ("7+8=5</think>5</think>", 0.0),
        ("7+8=5</think>", 0.0),
        ("7+8=5</think>55", 0.0),
        ("7+8=5</think>5;", 0.0),
        ("7+8=5</think>5 or 6", 0.0),
        ("", 0.0),
    ],
    ids=[
        "right",
        "no working",
        "spaces",
        "wrong",
        "no marker",
        "answer without marker",
        "two markers",
        "marker repeated after the answer",
        "empty answer",
        "longer number",
        "trailing character",
        "trailing words",
        "empty",
    ],
)
def test_score(response, score):
    assert reward.compute_score("pocket", response, "5", extra_info={"index": 0}) == score


def test_empty_ground_truth_is_not_matched_by_a_missing_answer():
    assert reward.compute_score("pocket", "no marker at all", "") == 0.0


def test_verl_loads_the_file_by_path():
    load_extern_object = pytest.importorskip("verl.utils.import_utils").load_extern_object
    loaded = load_extern_object(module_path=reward.__file__, object_name="compute_score")
    assert loaded is not reward.compute_score
    assert loaded(data_source="pocket", solution_str="1+1=2</think>2", ground_truth="2", extra_info={}) == 1.0
