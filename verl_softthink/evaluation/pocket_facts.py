"""A multiple-choice task for lm-evaluation-harness in the pocket reasoner's alphabet: problems of two operations.

The model has seen problems of three to six operations, in pre-training and in reinforcement learning: two are outside
both. The question is the second step of the working with its result left out, the choices are the ten digits.

    <user>7+8*3<assistant><think>7+8=5;5*3=     0 1 2 3 4 [5] 6 7 8 9
"""

import json
from itertools import product
from pathlib import Path

from verl_softthink.files.writing import write_text
from verl_softthink.pocket.tasks import LARGEST_OPERAND, MODULUS, OPERATIONS, SMALLEST_OPERAND, STEP_SEPARATOR, Problem
from verl_softthink.pocket.tokenizer import ASSISTANT, THINK_START, USER

NAME = "pocket_facts"
#: Every how manieth of all 4608 problems is asked; coprime to the numbers of operands and operations.
STRIDE = 23
_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


def questions() -> list[dict]:
    """All questions: ``question``, ``choices`` and ``answer``, the number of the right choice."""
    operands = range(SMALLEST_OPERAND, LARGEST_OPERAND + 1)
    problems = [
        Problem((a, b, c), (first, second))
        for a, first, b, second, c in product(operands, OPERATIONS, operands, OPERATIONS, operands)
    ]
    return [_question(problem) for problem in problems[::STRIDE]]


def _question(problem: Problem) -> dict:
    working = STEP_SEPARATOR.join(problem.steps)[:-1]
    return {
        "question": f"{USER}{problem.question}{ASSISTANT}{THINK_START}{working}",
        "choices": [str(digit) for digit in range(MODULUS)],
        "answer": int(problem.answer),
    }


def write_task(folder: Path) -> Path:
    """Write the task's YAML and questions into a folder that the harness can include, and return it."""
    folder = folder.resolve()
    file = folder / f"{NAME}.jsonl"
    write_text("".join(f"{json.dumps(question)}\n" for question in questions()), file)
    write_text(_TASK.format(name=NAME, file=json.dumps(str(file))), folder / f"{NAME}.yaml")
    return folder
