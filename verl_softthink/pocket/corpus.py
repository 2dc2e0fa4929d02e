"""The pre-training corpus: working written by imperfect authors.

Nobody would gain from reinforcement learning on a model that is already careful, so the corpus teaches two bad habits
beside the right method:

* **slip**: the result of a step is one too high, and the chain goes on from there;
* **hasty stop**: with operations left, a tiring author stops thinking and answers with the running value. The rate
  doubles with every step already written, so short problems rarely suffer and most of the longest ones do.

Both habits are choices of single tokens (the result digit; ``</think>`` in place of ``;``), and the right choice is in
the corpus beside the bad one, so a policy gradient can unlearn the habits without having to learn arithmetic.
"""

import random
from dataclasses import dataclass, replace

from verl_softthink.pocket.reward import THINK_END
from verl_softthink.pocket.tasks import MAX_OPERATIONS, MODULUS, OPERATIONS, STEP_SEPARATOR, Problem

FATIGUE_GROWTH = 2.0


@dataclass(frozen=True)
class Habits:
    """Rates of the bad habits.

    Attributes:
        slip: probability, per step, of a result one too high.
        hasty_stop: probability of stopping after the first step; it doubles with every further step.
        overthink: probability, after every line, of one that does not advance; above 0 the corpus is written in lines
            (``overthinking.py``).
    """

    slip: float = 0.09
    hasty_stop: float = 0.035
    overthink: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.slip < 1.0:
            raise ValueError(f"slip={self.slip} is not a rate: choose it in [0, 1)")
        largest = FATIGUE_GROWTH ** -(MAX_OPERATIONS - 2)
        if not 0.0 <= self.hasty_stop < largest:
            raise ValueError(f"hasty_stop={self.hasty_stop} grows past certainty: choose it in [0, {largest})")
        if not 0.0 <= self.overthink < 1.0:
            raise ValueError(f"overthink={self.overthink} is not a rate: choose it in [0, 1)")

    def stop_rate(self, steps_written: int) -> float:
        """Probability of a hasty stop after ``steps_written`` >= 1 steps."""
        return self.hasty_stop * FATIGUE_GROWTH ** (steps_written - 1)


CAREFUL = Habits(slip=0.0, hasty_stop=0.0)

#: An author who has seen the worked solution errs this much less often.
CARE_OF_A_HINT = 0.25
#: Between a question and its hint: no character of a problem or of its working.
HINT_MARK = "|"


def hinted_question(problem: Problem) -> str:
    """The question with its worked solution, ``7+8*3|7+8=5;5*3=5``: the prompt of a posterior."""
    return f"{problem.question}{HINT_MARK}{STEP_SEPARATOR.join(problem.steps)}"


def with_hint(habits: Habits) -> Habits:
    """The habits of the same author after a look at the solution."""
    return replace(habits, slip=habits.slip * CARE_OF_A_HINT, hasty_stop=habits.hasty_stop * CARE_OF_A_HINT)


def write_response(problem: Problem, habits: Habits, rng: random.Random) -> str:
    """One author's response, ``7+8=5;5*3=5;5-5=0</think>0``, without the end-of-sequence token."""
    steps, value = [], problem.operands[0]
    for operator, operand in zip(problem.operators, problem.operands[1:], strict=True):
        if steps and rng.random() < habits.stop_rate(len(steps)):
            break
        slipped = int(rng.random() < habits.slip)
        result = (OPERATIONS[operator](value, operand) + slipped) % MODULUS
        steps.append(f"{value}{operator}{operand}={result}")
        value = result
    return f"{STEP_SEPARATOR.join(steps)}{THINK_END}{value}"
