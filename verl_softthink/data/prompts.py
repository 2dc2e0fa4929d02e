"""How questions are asked: the chat messages of the recipes, by name."""

from collections.abc import Callable

from verl_softthink.data.parquet import Message

#: One token of SmolLM2's vocabulary at the start of a line: it ends thinking and announces the answer, as in GSM8K.
ANSWER_MARKER = "####"
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


def _after_examples(task: str, question: str) -> list[Message]:
    messages = [{"role": "system", "content": f"{task}, then write {ANSWER_MARKER} and the answer."}]
    for example, solution in _EXAMPLES:
        messages += [{"role": "user", "content": example}, {"role": "assistant", "content": solution}]
    return [*messages, {"role": "user", "content": question}]


PROMPTS: dict[str, Callable[[str], list[Message]]] = {
    "add_or_subtract": add_or_subtract,
    "worked_examples": worked_examples,
    "boxed": boxed,
}
