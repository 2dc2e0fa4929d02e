"""Soft targets from a frozen teacher: its next-token distributions along given solutions, so that a model starts soft.

At the thought position t of a solution y, with the tokens before it as context,

    q = s 1[y_t] + (1 - s) p~,    p~ the K most likely tokens of softmax(logits / temperature), renormalised

where s, the solution's weight, keeps the path that the solution takes in the mixture: without it, a mixture may hold
everything but the token on which the rest of the solution depends. The end-of-thinking marker and all after it stay
tokens. A record is a question with its solution, in one of these forms:

| columns | thought and answer |
|---|---|
| `question` or `problem`; `response`, `solution` or `answer` | the text, which must hold the marker |
| `prompt` in place of the question | chat messages, as in verl's schema |
| `prompt`, `extra_info.solution`, `reward_model.ground_truth` | the solution, the marker and the answer |
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_softthink.data.guarded_reward import answer_text
from verl_softthink.data.parquet import Message
from verl_softthink.data.records import ground_truth_of, messages_of, read_records
from verl_softthink.data.sft_rows import TOKEN, SftRow, Target, write_sft_rows
from verl_softthink.errors import FileError
from verl_softthink.files.checkpoint import chat_ids, load_model, load_tokenizer

_QUESTIONS, _SOLUTIONS = ("question", "problem"), ("response", "solution", "answer")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherSettings:
    """How targets are made.

    Attributes:
        marker: text that ends thinking; it is encoded by itself.
        top_k: K, the most candidates that the teacher gives a thought.
        temperature: divides the teacher's logits.
        solution_weight: s, the weight of the solution's own token, in [0, 1].
    """

    marker: str = "</think>"
    top_k: int = 32
    temperature: float = 1.0
    solution_weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.marker:
            raise ValueError("marker is empty: give the text that ends thinking, e.g. '</think>'")
        if self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} leaves no candidate: choose at least 1")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} must be above 0")
        if not 0 <= self.solution_weight <= 1:
            raise ValueError(f"solution_weight={self.solution_weight} is no share: choose it in [0, 1]")


def prepare(
    model: Path,
    solutions: Path,
    out: Path,
    settings: TeacherSettings,
    *,
    ask: Callable[[str], list[Message]],
    limit: int | None = None,
) -> None:
    """Write one row for each solution of a file.

    Args:
        model: the teacher.
        ask: how a bare question is asked.
        limit: at most so many solutions, the first ones.

    Raises:
        FileError: naming the file, the record and what it lacks.
    """
    solved = []
    for number, record in enumerate(read_records(solutions)[:limit], start=1):
        try:
            solved.append(worked(record, settings.marker, ask))
        except ValueError as error:
            raise FileError(solutions, f"record {number}: {error}") from error
    tokenizer, teacher = load_tokenizer(model), _on_accelerator(model)
    rows = []
    for messages, thought, answer in track(solved, description="teacher"):
        rows.append(row_of(teacher, tokenizer, chat_ids(tokenizer, messages), thought, answer, settings))
    write_sft_rows(rows, out)
    thoughts = [weights for row in rows for ids, weights in row.targets if ids]
    logger.info(
        "wrote %s: %d rows of at most %d tokens; %d thoughts of %.2f effective tokens",
        out,
        len(rows),
        max(len(row.prompt) + len(row.response) for row in rows),
        len(thoughts),
        sum(1 / sum(weight**2 for weight in weights) for weights in thoughts) / max(len(thoughts), 1),
    )


def worked(record: dict, marker: str, ask: Callable[[str], list[Message]]) -> tuple[list[Message], str, str]:
    """Messages, the text of the thought, and the text behind the marker.

    Raises:
        ValueError: naming the column that is missing, or a solution without the marker.
    """
    question = next((record[name] for name in _QUESTIONS if record.get(name)), None)
    if "prompt" in record:
        messages = messages_of(record)
    elif isinstance(question, str):
        messages = ask(question)
    else:
        raise ValueError(f"no prompt and no question among the columns {', '.join(record)}")
    texts = [record[name] for name in _SOLUTIONS if isinstance(record.get(name), str)]
    extra = record.get("extra_info")
    if "reward_model" in record and isinstance(extra, dict) and isinstance(extra.get("solution"), str):
        texts.append(f"{extra['solution']}{marker}{answer_text(ground_truth_of(record))}")
    if not texts:
        raise ValueError(f"no solution among the columns {', '.join(record)}; name it {' or '.join(_SOLUTIONS)}")
    text = next((text for text in texts if marker in text), None)
    if text is None:
        raise ValueError(f"the solution does not hold the end-of-thinking marker {marker!r}; give --end-of-thinking")
    thought, _, answer = text.partition(marker)
    return messages, thought, answer


@torch.no_grad()
def row_of(
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: list[int],
    thought: str,
    answer: str,
    settings: TeacherSettings,
) -> SftRow:
    """One row: the thought's tokens with their targets, then marker, answer and end of sequence as tokens."""
    tokens, marker, rest = (
        tokenizer.encode(text, add_special_tokens=False) for text in (thought, settings.marker, answer)
    )
    after = [*marker, *rest, tokenizer.eos_token_id]
    logits = teacher(torch.tensor([prompt + tokens], device=teacher.device)).logits[0, len(prompt) - 1 : -1]
    targets = blended(logits.float().cpu(), tokens, settings)
    return SftRow(prompt, tokens + after, [1] * (len(tokens) + len(after)), [*targets, *[TOKEN] * len(after)])


def blended(logits: Tensor, tokens: Iterable[int], settings: TeacherSettings) -> list[Target]:
    """The target of each of T thought positions, the likeliest candidate first.

    Args:
        logits: [T, V] the teacher's.
        tokens: [T] the solution's.
    """
    likeliest = (logits / settings.temperature).topk(min(settings.top_k, logits.shape[-1]), dim=-1)
    weights = (1 - settings.solution_weight) * likeliest.values.softmax(-1)
    targets = []
    for token, ids, shares in zip(tokens, likeliest.indices.tolist(), weights.tolist(), strict=True):
        target = dict(zip(ids, shares, strict=True))
        target[token] = target.get(token, 0.0) + settings.solution_weight
        # A share may round to 0, and has no weight then.
        kept = sorted(((share, candidate) for candidate, share in target.items() if share > 0), reverse=True)
        targets.append(([candidate for _, candidate in kept], [share for share, _ in kept]))
    return targets


def _on_accelerator(path: Path) -> PreTrainedModel:
    """The teacher in its own precision (float32 on a CPU), on the accelerator if there is one."""
    accelerator = torch.accelerator.is_available()
    teacher = load_model(path, dtype="auto" if accelerator else torch.float32)
    return teacher.to(torch.accelerator.current_accelerator()) if accelerator else teacher
