"""GSM8K (Cobbe et al. 2021, arXiv 2110.14168; MIT licence) as verl parquet files.

    python -m verl_softthink.data.gsm8k --out outputs/data/gsm8k
    python -m verl_softthink.data.gsm8k --out outputs/data/gsm8k --train-jsonl train.jsonl --test-jsonl test.jsonl

The first form asks the Hugging Face hub for ``openai/gsm8k``; the second reads the published JSON lines, whose fields
are ``question`` and ``answer``, the answer ending in ``#### n``.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.data.prompts import PROMPTS

logger = logging.getLogger(__name__)

SOURCE = "openai/gsm8k"
_ANSWER_MARKER = "####"


def final_answer(answer: str) -> str:
    """The number after ``####``, without thousands separators.

    Raises:
        ValueError: when the marker is missing.
    """
    _, marker, number = answer.rpartition(_ANSWER_MARKER)
    if not marker:
        raise ValueError(f"GSM8K answer without {_ANSWER_MARKER}: {answer[-80:]!r}; give the published files")
    return number.strip().replace(",", "")


def read_jsonl(path: Path) -> list[dict[str, str]]:
    """The records of a JSON lines file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def convert(records: Iterable[dict[str, str]], split: str, prompt: str) -> list[dict]:
    """GSM8K records as rows of verl's schema.

    Args:
        prompt: how the question is asked, one of ``PROMPTS``.
    """
    return [
        training_row(
            source=SOURCE,
            messages=PROMPTS[prompt](record["question"]),
            answer=final_answer(record["answer"]),
            split=split,
            index=index,
            question=record["question"],
        )
        for index, record in enumerate(records)
    ]


def main(
    out: Annotated[Path, typer.Option(help="Directory of train.parquet and test.parquet.")],
    train_jsonl: Annotated[Path | None, typer.Option(help="Published training file; default: the hub.")] = None,
    test_jsonl: Annotated[Path | None, typer.Option(help="Published test file; default: the hub.")] = None,
    prompt: Annotated[str, typer.Option(help=f"How questions are asked: {', '.join(PROMPTS)}.")] = "worked_examples",
) -> None:
    """Write GSM8K as verl parquet files."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if prompt not in PROMPTS:
        raise typer.BadParameter(f"--prompt {prompt} is unknown; use one of {', '.join(PROMPTS)}")
    for split, file in (("train", train_jsonl), ("test", test_jsonl)):
        path = out / f"{split}.parquet"
        rows = convert(read_jsonl(file) if file else _from_hub(split), split, prompt)
        write_rows(rows, path)
        logger.info("wrote %s: %d problems", path, len(rows))


def _from_hub(split: str) -> Iterable[dict[str, str]]:
    from datasets import load_dataset

    return load_dataset(SOURCE, "main", split=split)


if __name__ == "__main__":
    typer.run(main)
