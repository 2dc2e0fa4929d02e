"""maj@k against the enumeration of all ways of breaking ties, its expectation against the true one, and what votes."""

from itertools import groupby, product
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.evaluation.majority import majority_at_k, voter

ANSWERS = (None, "a", "b", "c")
#: "a" is right.
CAST = st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=9)


def votes_of(answers):
    return [(answer, answer == "a") for answer in answers]


def vote(answers) -> float:
    """One vote, in words: runs of equal answers, the longest ones, and how many of these are the right one."""
    runs = [len(list(run)) * [answer] for answer, run in groupby(sorted(filter(None, answers)))]
    longest = [run for run in runs if len(run) == max(map(len, runs))]
    return mean(run[0] == "a" for run in longest) if longest else 0.0


@given(CAST, st.integers(1, 9))
def test_mean_of_disjoint_votes(answers, k):
    if k > len(answers):
        with pytest.raises(ValueError, match=f"k={k} with {len(answers)} samples"):
            majority_at_k(votes_of(answers), k)
        return
    groups = [answers[start : start + k] for start in range(0, len(answers) // k * k, k)]
    assert majority_at_k(votes_of(answers), k) == pytest.approx(mean(map(vote, groups)), abs=1e-12)


def test_expectation_over_independent_samples_is_that_of_one_vote():
    chances = {None: 0.1, "a": 0.35, "b": 0.3, "c": 0.25}

    def expectation(samples: int, k: int) -> float:
        total = 0.0
        for drawn in product(ANSWERS, repeat=samples):
            weight = 1.0
            for answer in drawn:
                weight *= chances[answer]
            total += weight * majority_at_k(votes_of(drawn), k)
        return total

    assert expectation(6, 3) == pytest.approx(expectation(3, 3), abs=1e-12)
    assert expectation(5, 1) == pytest.approx(0.35, abs=1e-12)


def test_a_majority_beats_the_mean_of_its_voters_where_they_are_right_more_often_than_not():
    answers = ["a", "b", "a", "c", "a", "b"]
    assert majority_at_k(votes_of(answers), 6) == 1.0 > majority_at_k(votes_of(answers), 1) == 0.5


@pytest.mark.parametrize(
    ("reward", "one", "other", "same"),
    [
        ("pocket", "1 2</think> 7", "9</think>7", True),
        ("pocket", "1</think>7", "1</think>8", False),
        ("number", r"so \boxed{0.5}", r"\boxed{\frac{1}{2}}", True),
        ("math_verify", "#### 1,200", r"\boxed{1200.0}", True),
        ("math_verify", r"\boxed{x+1}", r"\boxed{x+2}", False),
    ],
)
def test_answers_vote_by_what_they_say(reward, one, other, same):
    answer = voter(reward)
    assert None not in (answer(one), answer(other))
    assert (answer(one) == answer(other)) is same


@pytest.mark.parametrize(
    ("reward", "text"), [("pocket", "1 2"), ("pocket", "1</think>2</think>3"), ("number", "so so")]
)
def test_a_response_without_an_answer_does_not_vote(reward, text):
    assert voter(reward)(text) is None
