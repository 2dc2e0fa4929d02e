"""Questions with answers and worked solutions, from two schemas.

verl's (reinforcement learning): ``prompt`` (messages), ``reward_model.ground_truth``, ``extra_info.solution``,
``data_source``. Bespoke-Stratos (bespokelabs/Bespoke-Stratos-17k): ``conversations`` of ``{"from", "value"}`` whose
assistant turn is

    <|begin_of_thought|> ... <|end_of_thought|>  <|begin_of_solution|> ... \\boxed{...} <|end_of_solution|>

The solution becomes the hint and its box the answer. The system message, which asks for these four markers, is left
out: here a thought ends with ``end_of_thinking``.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from verl_softthink.data.answer_place import last_boxed
from verl_softthink.data.guarded_reward import no_answer

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
        ValueError: a schema that is neither of the two.
        FileNotFoundError: no such file.
    """
    rows = _rows(path)
    questions = [question for index, row in enumerate(rows) if (question := _question(index, row, path)) is not None]
    if len(questions) < len(rows):
        logger.warning("%s: %d of %d rows have no answer to check", path, len(rows) - len(questions), len(rows))
    if not questions:
        raise ValueError(f"{path}: no question with an answer; give a file in verl's or Bespoke-Stratos' schema")
    return questions


def _rows(path: Path) -> list[dict]:
    if not path.exists():
        raise FileNotFoundError(f"questions={path}: no such file")
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path).to_pylist()
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def _question(index: int, row: Mapping[str, Any], path: Path) -> Question | None:
    if "conversations" in row:
        return _stratos(index, row)
    if "prompt" in row and "reward_model" in row:
        if no_answer(row["reward_model"].get("ground_truth")):
            return None
        extra = row.get("extra_info") or {}
        return Question(
            index=index,
            messages=[dict(message) for message in row["prompt"]],
            answer=str(row["reward_model"]["ground_truth"]),
            solution=extra.get("solution"),
            thought=None,
            source=row.get("data_source") or "",
        )
    raise ValueError(
        f"{path}, row {index}: columns {', '.join(row)} are neither verl's (prompt, reward_model) nor Bespoke-Stratos' "
        "(conversations)"
    )


def _stratos(index: int, row: Mapping[str, Any]) -> Question | None:
    turns = [{"role": _ROLES[turn["from"]], "content": turn["value"]} for turn in row["conversations"]]
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        return None
    reply = turns[-1]["content"]
    solution, thought = _part("solution", reply), _part("thought", reply)
    answer = last_boxed(solution) if solution else None
    if answer is None:
        return None
    return Question(index, turns[:-1], answer, solution, thought, STRATOS)


def _part(name: str, text: str) -> str | None:
    match = re.search(_PART.format(name), text, re.DOTALL)
    return match.group(1).strip() if match else None
