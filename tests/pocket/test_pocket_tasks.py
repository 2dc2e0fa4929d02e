"""The task: arithmetic against Python's own, splits by construction, and the habits of the corpus."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.pocket.corpus import CAREFUL, Habits, write_response
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.tasks import (
    LARGEST_OPERAND,
    MAX_OPERATIONS,
    MIN_OPERATIONS,
    SMALLEST_OPERAND,
    SPLITS,
    Problem,
    draw,
    generate,
)


@given(st.integers(min_value=0))
def test_answer_is_the_last_digit_of_the_value_from_left_to_right(seed):
    problem = draw(random.Random(seed))
    # Parentheses on the left turn Python's precedence into reading order.
    text = "(" * len(problem.operators) + str(problem.operands[0])
    for operator, operand in zip(problem.operators, problem.operands[1:], strict=True):
        text += f"{operator}{operand})"
    assert problem.answer == str(eval(text) % 10)


def test_steps_of_a_known_problem():
    problem = Problem((7, 8, 3, 9), ("+", "*", "-"))
    assert problem.question == "7+8*3-9"
    assert problem.steps == ("7+8=5", "5*3=5", "5-9=6")
    assert problem.answer == "6"


def test_problems_stay_in_the_announced_range():
    problems = generate("train", 500, seed=0)
    assert {len(problem.operators) for problem in problems} == set(range(MIN_OPERATIONS, MAX_OPERATIONS + 1))
    assert {operand for problem in problems for operand in problem.operands} == set(
        range(SMALLEST_OPERAND, LARGEST_OPERAND + 1)
    )


def test_generate_is_a_function_of_its_arguments():
    assert generate("val", 50, seed=3) == generate("val", 50, seed=3)
    assert generate("val", 50, seed=3) != generate("val", 50, seed=4)
    assert len(set(generate("val", 2000, seed=3))) == 2000


def test_splits_are_disjoint_for_equal_and_different_seeds():
    drawn = {(split, seed): set(generate(split, 1000, seed)) for split in SPLITS for seed in (0, 1)}
    for (split, _), problems in drawn.items():
        assert {problem.split for problem in problems} == {split}
        for (other_split, _), other_problems in drawn.items():
            assert split == other_split or not problems & other_problems


def test_unknown_split_and_negative_count_are_refused():
    with pytest.raises(ValueError, match="split='test' is unknown"):
        generate("test", 1, seed=0)
    with pytest.raises(ValueError, match="count=-1"):
        generate("val", -1, seed=0)


def test_careful_author_writes_every_step_and_scores():
    for problem in generate("pretrain", 100, seed=0):
        response = write_response(problem, CAREFUL, random.Random(0))
        assert response == ";".join(problem.steps) + "</think>" + problem.answer
        assert compute_score("", response, problem.answer) == 1.0


def test_habits_occur_at_the_stated_rates():
    rng = random.Random(0)
    problems = [problem for problem in generate("pretrain", 4000, seed=0) if len(problem.operators) == MAX_OPERATIONS]
    hasty = Habits(slip=0.0, hasty_stop=0.03)
    lengths = [write_response(problem, hasty, rng).count("=") for problem in problems]
    for written in range(1, MAX_OPERATIONS):
        reached = [length for length in lengths if length >= written]
        stopped = sum(length == written for length in reached) / len(reached)
        # Four standard errors of a proportion.
        rate = hasty.stop_rate(written)
        assert abs(stopped - rate) < 4 * (rate * (1 - rate) / len(reached)) ** 0.5

    slips = [write_response(problem, Habits(slip=0.1, hasty_stop=0.0), rng) for problem in problems]
    first_right = sum(text.startswith(problem.steps[0]) for text, problem in zip(slips, problems, strict=True))
    assert abs(first_right / len(problems) - 0.9) < 4 * (0.09 / len(problems)) ** 0.5


def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match="slip=1.0"):
        Habits(slip=1.0)
    with pytest.raises(ValueError, match="hasty_stop=0.07"):
        Habits(hasty_stop=0.07)
