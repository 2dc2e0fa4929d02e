"""A corpus of authors who overthink: their working has lines that do not advance.

    7+8=5        a step
    =5           restating: says again what stands there
    hm           hedging: says nothing
    ?7+8=5       checking: does the last step again, and goes on from what comes out this time
    5*3=5
    </think>5

After every line the author adds one more that does not advance with probability ``Habits.overthink``, at most
``MOST_IDLE_LINES`` in a row, each kind as likely as the others. Checks slip as steps do, so a check may repair a step
or spoil it. Which kind of line follows is the choice of one token, its first, and every line ends with a line break:
these are the segments that a process reward can tell apart.
"""

import random

from verl_softthink.pocket.corpus import Habits
from verl_softthink.pocket.reward import THINK_END
from verl_softthink.pocket.tasks import MODULUS, OPERATIONS, Problem

#: Bounds a response: 6 steps of 6 tokens, each with at most 3 lines of at most 7 tokens, the marker, answer and end.
MOST_IDLE_LINES = 3
LONGEST_OVERTHINKING = 6 * (6 + MOST_IDLE_LINES * 7) + 3
RESTATING, HEDGING, CHECKING = "=", "hm", "?"


def write_overthinking(problem: Problem, habits: Habits, rng: random.Random) -> str:
    """One author's response in lines, without the end-of-sequence token."""
    lines: list[str] = []
    value = problem.operands[0]
    for steps, (operator, operand) in enumerate(zip(problem.operators, problem.operands[1:], strict=True)):
        if steps and rng.random() < habits.stop_rate(steps):
            break
        left = value

        def attempt(left: int = left, operator: str = operator, operand: int = operand) -> tuple[int, str]:
            slipped = int(rng.random() < habits.slip)
            result = (OPERATIONS[operator](left, operand) + slipped) % MODULUS
            return result, f"{left}{operator}{operand}={result}"

        value, line = attempt()
        lines.append(line)
        for _ in range(MOST_IDLE_LINES):
            if rng.random() >= habits.overthink:
                break
            kind = rng.choice((RESTATING, HEDGING, CHECKING))
            if kind == CHECKING:
                value, line = attempt()
                lines.append(CHECKING + line)
            else:
                lines.append(RESTATING + str(value) if kind == RESTATING else HEDGING)
    return "".join(f"{line}\n" for line in lines) + THINK_END + str(value)
