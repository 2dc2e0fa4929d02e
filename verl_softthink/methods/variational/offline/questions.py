"""Questions with answers and worked solutions, from two schemas.

verl's (reinforcement learning): ``prompt`` (messages), ``reward_model.ground_truth``, ``extra_info.solution``,
``data_source``. Bespoke-Stratos (bespokelabs/Bespoke-Stratos-17k): ``conversations`` of ``{"from", "value"}`` whose
assistant turn is

    <|begin_of_thought|> ... <|end_of_thought|>  <|begin_of_solution|> ... \\boxed{...} <|end_of_solution|>

The solution becomes the hint and its box the answer. The system message, which asks for these four markers, is left
out: here a thought ends with ``end_of_thinking``.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from verl_softthink.data.answer_place import last_boxed
from verl_softthink.data.guarded_reward import answer_text, no_answer
from verl_softthink.data.records import ground_truth_of, messages_of, read_records
from verl_softthink.errors import FileError, about_file

logger = logging.getLogger(__name__)

STRATOS = "bespoke_stratos"
_PART = r"<\|begin_of_{0}\|>(.*?)<\|end_of_{0}\|>"
_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        index: row of the file it came from.
        messages: the conversation that ends with it.
        answer: the ground truth for the reward function.
        solution: worked solution, or None.
        thought: the data set's own thought, or None.
        source: the data set's name, for the reward function.
    """

    index: int
    messages: list[dict[str, str]]
    answer: str
    solution: str | None
    thought: str | None
    source: str

    def as_row(self) -> dict[str, Any]:
        """The question in verl's schema, as hints and rewards expect it."""
        return {
            "data_source": self.source,
            "prompt": self.messages,
            "reward_model": {"ground_truth": self.answer},
            "extra_info": {"index": self.index, "solution": self.solution},
        }

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_questions(path: Path) -> list[Question]:
    """Every question of a parquet or JSON lines file; rows without an answer to check are skipped and counted.

    Raises:
        FileError: the file is damaged, or its schema is neither of the two.
        FileNotFoundError: no such file.
    """
    rows, questions = read_records(path), []
    for index, row in enumerate(rows):
        with about_file(f"{path}, row {index}", ValueError):
            questions.append(_question(index, row))
    answered = [question for question in questions if question is not None]
    if len(answered) < len(rows):
        logger.warning("%s: %d of %d rows have no answer to check", path, len(rows) - len(answered), len(rows))
    if not answered:
        raise FileError(path, "no question with an answer; give a file in verl's or Bespoke-Stratos' schema")
    return answered


def _question(index: int, row: Mapping[str, Any]) -> Question | None:
    if "conversations" in row:
        return _stratos(index, row)
    if "prompt" in row and "reward_model" in row:
        truth, extra = ground_truth_of(row), row.get("extra_info") or {}
        if no_answer(truth):
            return None
        solution = extra.get("solution") if isinstance(extra, dict) else None
        if not isinstance(solution, str | None):
            raise ValueError(f"extra_info.solution is {solution!r:.200}, not a text")
        return Question(
            index=index,
            messages=messages_of(row),
            answer=answer_text(truth),
            solution=solution,
            thought=None,
            source=str(row.get("data_source") or ""),
        )
    raise ValueError(
        f"columns {', '.join(map(str, row))} are neither verl's (prompt, reward_model) nor Bespoke-Stratos' "
        "(conversations)"
    )


def _stratos(index: int, row: Mapping[str, Any]) -> Question | None:
    given = row["conversations"]
    if not isinstance(given, list) or not all(_is_turn(turn) for turn in given):
        raise ValueError(
            f"column conversations: {given!r:.200} is no list of turns with from ({', '.join(_ROLES)}) and value"
        )
    turns = [{"role": _ROLES[turn["from"]], "content": turn["value"]} for turn in given]
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        return None
    reply = turns[-1]["content"]
    solution, thought = _part("solution", reply), _part("thought", reply)
    answer = last_boxed(solution) if solution else None
    if answer is None:
        return None
    return Question(index, turns[:-1], answer, solution, thought, STRATOS)


def _is_turn(turn: object) -> bool:
    texts = isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in ("from", "value"))
    return texts and turn["from"] in _ROLES


def _part(name: str, text: str) -> str | None:
    match = re.search(_PART.format(name), text, re.DOTALL)
    return match.group(1).strip() if match else None
