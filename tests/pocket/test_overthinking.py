"""Overthinking authors: the same steps, lines between them that do not advance, and the stated rates."""

import random
import re

import pytest

from verl_softthink.pocket.corpus import CAREFUL, Habits
from verl_softthink.pocket.model import MAX_LENGTH
from verl_softthink.pocket.overthinking import LONGEST_OVERTHINKING, MOST_IDLE_LINES, write_overthinking
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.tasks import MAX_OPERATIONS, generate
from verl_softthink.pocket.tokenizer import build_tokenizer

STEP = re.compile(r"\d[+*-]\d=\d")
CHATTY = Habits(slip=0.0, hasty_stop=0.0, overthink=0.4)


def lines_of(response: str) -> list[str]:
    thinking, _, _ = response.partition("</think>")
    assert thinking.endswith("\n")
    return thinking.splitlines()


def test_steps_are_the_problems_and_idle_lines_change_nothing():
    rng = random.Random(0)
    for problem in generate("pretrain", 300, seed=0):
        response = write_overthinking(problem, CHATTY, rng)
        lines = lines_of(response)
        assert tuple(line for line in lines if STEP.fullmatch(line)) == problem.steps
        last = None
        for line in lines:
            if STEP.fullmatch(line):
                last = line
            else:
                assert line in ("hm", f"={last[-1]}", f"?{last}")
        assert compute_score("", response, problem.answer) == 1.0


def test_rate_of_idle_lines():
    rng = random.Random(1)
    idle = steps = 0
    for problem in generate("pretrain", 2000, seed=0):
        lines = lines_of(write_overthinking(problem, CHATTY, rng))
        steps += len(problem.steps)
        idle += len(lines) - len(problem.steps)
    expected = sum(0.4**count for count in range(1, MOST_IDLE_LINES + 1))
    assert idle / steps == pytest.approx(expected, rel=0.05)


def test_a_check_may_repair_or_spoil_a_step():
    rng = random.Random(2)
    repaired = spoilt = 0
    for problem in generate("pretrain", 500, seed=0):
        lines = lines_of(write_overthinking(problem, Habits(slip=0.3, hasty_stop=0.0, overthink=0.5), rng))
        for before, line in zip(lines, lines[1:], strict=False):
            if line.startswith("?") and STEP.fullmatch(before) and line[1:] != before:
                left, operator, right, result = before[0], before[1], before[2], before[-1]
                right_result = str(eval(f"({left}{operator}{right})") % 10)
                repaired += line[-1] == right_result
                spoilt += result == right_result
    assert repaired > 20 and spoilt > 20


def test_the_longest_response_fits():
    tokenizer = build_tokenizer(MAX_LENGTH)
    rng = random.Random(3)
    longest = [p for p in generate("pretrain", 400, seed=0) if len(p.operators) == MAX_OPERATIONS]
    chatty = Habits(slip=0.0, hasty_stop=0.0, overthink=0.99)
    lengths = [len(tokenizer(write_overthinking(p, chatty, rng) + tokenizer.eos_token)["input_ids"]) for p in longest]
    assert max(lengths) <= LONGEST_OVERTHINKING < MAX_LENGTH
    assert lines_of(write_overthinking(longest[0], CAREFUL, rng)) == list(longest[0].steps)


def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match="overthink=1.0 is not a rate"):
        Habits(overthink=1.0)
