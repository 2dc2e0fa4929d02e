"""How questions are asked: the chat messages of the recipes, by name."""

from collections.abc import Callable

from verl_softthink.data.answer_place import BOX, MARKER
from verl_softthink.data.parquet import Message

#: One token of SmolLM2's vocabulary at the start of a line: it ends thinking and announces the answer, as in GSM8K.
ANSWER_MARKER = MARKER
_EXAMPLES = (
    ("There are 3 hats in a bag and 5 hats in a box. How many hats are there in total?", "3 + 5 = 8\n#### 8"),
    ("Tim has 7 hats and gives 3 of them to Zoe. How many hats does Tim have left?", "7 - 3 = 4\n#### 4"),
)


def add_or_subtract(question: str) -> list[Message]:
    """Two solved problems first, for a model too small to follow an instruction about form alone."""
    return _after_examples("Add or subtract", question)


def worked_examples(question: str) -> list[Message]:
    """The same examples, for problems of any kind."""
    return _after_examples("Solve the problem", question)


def boxed(question: str) -> list[Message]:
    """The usual request of mathematical reasoning models, which think between markers of their own."""
    request = "Let's think step by step and output the final answer within \\boxed{}."
    return [{"role": "user", "content": f"{question} {request}"}]


def final_answer(question: str) -> list[Message]:
    """What Soft Tokens (arXiv 2509.19170) asks for: reasoning, then the answer in a box after a fixed text."""
    request = "Reason step by step, then end with: The final answer is: \\boxed{your answer}."
    return [{"role": "user", "content": f"{question}\n\n{request}"}]


def final_answer_examples(question: str) -> list[Message]:
    """The same form shown by solved problems, for a model too small to follow an instruction about form alone."""
    messages = [{"role": "system", "content": "Solve the problem, then write: The final answer is: \\boxed{answer}."}]
    for example, solution in _EXAMPLES:
        working, _, answer = solution.partition(f"\n{ANSWER_MARKER} ")
        boxed_solution = f"{working}\nThe final answer is: \\boxed{{{answer}}}"
        messages += [{"role": "user", "content": example}, {"role": "assistant", "content": boxed_solution}]
    return [*messages, {"role": "user", "content": question}]


def _after_examples(task: str, question: str) -> list[Message]:
    messages = [{"role": "system", "content": f"{task}, then write {ANSWER_MARKER} and the answer."}]
    for example, solution in _EXAMPLES:
        messages += [{"role": "user", "content": example}, {"role": "assistant", "content": solution}]
    return [*messages, {"role": "user", "content": question}]


PROMPTS: dict[str, Callable[[str], list[Message]]] = {
    "add_or_subtract": add_or_subtract,
    "worked_examples": worked_examples,
    "boxed": boxed,
    "final_answer": final_answer,
    "final_answer_examples": final_answer_examples,
}


def asks_for(prompt: str) -> str:
    """Where a prompt of ``PROMPTS`` asks for the answer: ``answer_place.BOX`` or ``MARKER``."""
    asked = "".join(message["content"] for message in PROMPTS[prompt](""))
    return MARKER if MARKER in asked else BOX
