"""Problems to evaluate on, from verl's parquet schema or from question and answer as benchmarks publish them.

| columns | known from |
|---|---|
| prompt, reward_model.ground_truth | any file for verl; the prompt is used as it is |
| question, answer | GSM8K (the answer after ``####``), and your own files |
| problem, answer | MATH-500, AIME 2024 and 2025, DeepScaleR; also with capitals, as some AIME files have |
| problem, solution | MATH: the answer is the last ``\\boxed{...}`` of the solution |

Files are ``.parquet``, ``.jsonl`` or ``.json``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from verl_softthink.data.answer_place import last_boxed
from verl_softthink.data.guarded_reward import answer_text
from verl_softthink.data.parquet import Message
from verl_softthink.data.records import ground_truth_of, messages_of, read_records
from verl_softthink.data.sources import after_marker
from verl_softthink.errors import about_file

_QUESTIONS = ("question", "problem")
_GSM8K_MARKER = "####"


@dataclass(frozen=True)
class EvaluationProblem:
    """One problem.

    Attributes:
        index: its place in the file.
        source: the data set's name, which selects the reward.
        messages: chat messages of the prompt.
        answers: right answers; one of them suffices.
    """

    index: int
    source: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...]


def read_problems(path: Path, prompt: Callable[[str], list[Message]]) -> list[EvaluationProblem]:
    """All problems of a file, in its order.

    Args:
        prompt: how a bare question is asked; rows with a ``prompt`` keep theirs.

    Raises:
        FileError: naming the file, the row and what it lacks.
        FileNotFoundError: when there is no such file.
    """
    problems = []
    for index, record in enumerate(read_records(path)):
        with about_file(f"{path}, row {index}", ValueError):
            problems.append(_problem(path, index, record, prompt))
    return problems


def _problem(path: Path, index: int, record: dict, prompt: Callable[[str], list[Message]]) -> EvaluationProblem:
    lowered = {str(key).lower(): value for key, value in record.items()}
    if "prompt" in lowered and "reward_model" in lowered:
        return EvaluationProblem(
            index=index,
            source=str(lowered.get("data_source", path.stem)),
            messages=tuple(messages_of(lowered)),
            answers=_texts(ground_truth_of(lowered)),
        )
    question = next((lowered[key] for key in _QUESTIONS if lowered.get(key)), None)
    if question is None:
        raise ValueError(
            f"no question among the columns {', '.join(record)}; a row needs question and answer, "
            "problem and answer, or verl's prompt and reward_model"
        )
    if not isinstance(question, str):
        raise ValueError(f"the question is {question!r:.200}, not a text")
    return EvaluationProblem(
        index=index,
        source=path.stem,
        messages=tuple(prompt(question)),
        answers=_texts(_answer(lowered)),
    )


def _answer(record: dict) -> object:
    answer = record.get("answer")
    if isinstance(answer, str) and _GSM8K_MARKER in answer:
        return after_marker(answer)
    if answer is None and isinstance(record.get("solution"), str):
        return last_boxed(record["solution"])
    return answer


def _texts(answer: object) -> tuple[str, ...]:
    """One answer, or a list of accepted ones, as texts."""
    answers = [one for one in (answer if isinstance(answer, list) else [answer]) if one is not None]
    try:
        return tuple(map(answer_text, answers or [None]))
    except ValueError as error:
        raise ValueError(
            f"the answer is {answer!r:.200}; give it as `answer`, as reward_model.ground_truth, or as "
            "the \\boxed{...} of a solution"
        ) from error
