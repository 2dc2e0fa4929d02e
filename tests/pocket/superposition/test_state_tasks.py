"""Both tasks against brute force: sets, paths, listed states, and what one path can know."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.pocket.superposition.graph_reachability import GraphReachability
from verl_softthink.pocket.superposition.permutation_words import PermutationWords
from verl_softthink.pocket.tasks import draw_distinct

TASKS = (PermutationWords(), PermutationWords(9, 2, 5, 3, 3, seed=4), GraphReachability(), GraphReachability(20, 3, 2))


def steps_by_hand(task, question: list[str]) -> list[set[str]]:
    """The set after each step, from the words of the question alone."""
    if isinstance(task, PermutationWords):
        word, states = question[task.choices : task.choices + task.length], set(question[-task.k :])
        tables = [
            {f"s{state}": f"s{to}" for state, to in enumerate(task.permutations["abc".index(symbol)])}
            for symbol in word
        ]
        found = []
        for table in tables:
            states = {table[state] for state in states}
            found.append(states)
        return found
    edges = list(zip(question[: 2 * task.n * task.degree : 2], question[1 : 2 * task.n * task.degree : 2], strict=True))
    found, states = [], {question[-1]}
    for _ in range(task.length):
        states = {to for node, to in edges if node in states}
        found.append(states)
    return found


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_sets_and_paths_follow_from_the_question(task):
    rng = random.Random(0)
    for _ in range(50):
        problem = task.draw(rng)
        question = problem.question.split()
        by_hand = steps_by_hand(task, question)
        assert [set(states) for states in problem.sets] == by_hand
        assert len(question) == task.prompt_length and set(question) <= set(task.words)
        assert len(problem.sets) == task.steps and len(problem.paths) <= task.most_paths
        assert set(problem.choices) & by_hand[-1] == {problem.answer}
        assert len(set(problem.choices)) == task.choices
        assert {path[-1] for path in problem.paths} == by_hand[-1] and len(problem.paths) == len(by_hand[-1])
        for path in problem.paths:
            assert all(state in states for state, states in zip(path, by_hand, strict=True))
        assert {problem.path, problem.blind_path} <= {*problem.paths} and problem.path[-1] == problem.answer


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_what_one_blind_path_can_know(task):
    """A path chosen before the listed states are seen, and a guess where it ends in none of them."""
    rng = random.Random(1)
    problems = [task.draw(rng) for _ in range(4000)]
    right = 0
    for problem in problems:
        end = problem.blind_path[-1]
        right += (end if end in problem.choices else rng.choice(problem.choices)) == problem.answer
    bound = sum(problem.blind_path_accuracy for problem in problems) / len(problems)
    assert right / len(problems) == pytest.approx(bound, abs=4 * (0.25 / len(problems)) ** 0.5)


def test_the_hard_size_leaves_a_path_at_44_per_cent():
    assert PermutationWords().draw(random.Random(0)).blind_path_accuracy == pytest.approx(0.4375)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(TASKS))
def test_the_same_seed_draws_the_same_problems_and_splits_are_disjoint(seed, task):
    found = {split: draw_distinct(task.draw, split, 5, seed) for split in ("pretrain", "train", "val")}
    assert found["val"] == draw_distinct(task.draw, "val", 5, seed)
    questions = [problem.question for problems in found.values() for problem in problems]
    assert len(set(questions)) == 15


def test_permutations_belong_to_the_task():
    assert PermutationWords(seed=1).permutations != PermutationWords(seed=2).permutations
    for permutation in PermutationWords(seed=3).permutations:
        assert sorted(permutation) == list(range(24))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PermutationWords(n=6), "n=6 states are too few for k=4"),
        (lambda: PermutationWords(k=0), "k=0 must be at least 1"),
        (lambda: PermutationWords(symbols=27), "symbols=27: symbols are letters"),
        (lambda: PermutationWords(choices=1), "choices=1 leaves nothing to choose"),
        (lambda: GraphReachability(degree=12), "degree=12 successors need more than n=12 nodes"),
        (lambda: GraphReachability(k=9), "reach at most 8 nodes; lower k"),
        (lambda: GraphReachability(n=5), "n=5 nodes are too few"),
        (lambda: GraphReachability(choices=1), "choices=1 leaves nothing to choose"),
        (lambda: GraphReachability(length=0), "length=0 must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_graphs_that_cannot_be_drawn_are_refused():
    crowded = GraphReachability(n=4, degree=3, length=3, k=1, choices=3)
    with pytest.raises(ValueError, match="none of 10000 graphs"):
        crowded.draw(random.Random(0))


def test_a_task_that_has_too_few_problems_says_so():
    tiny = PermutationWords(n=3, symbols=1, length=1, k=1, choices=2)
    with pytest.raises(ValueError, match="draws gave no problem of split 'val'"):
        draw_distinct(tiny.draw, "val", 100, 0)
