"""Public data sets as verl parquet files, from the Hugging Face hub or from files.

    python -m verl_softthink.data.prepare gsm8k --out outputs/data
    python -m verl_softthink.data.prepare gsm8k --out outputs/data --file test=gsm8k_test.jsonl

Writes ``OUT/<name>-<split>.parquet``.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.data.prompts import PROMPTS
from verl_softthink.data.records import question_and_answer, read_records
from verl_softthink.data.sources import SOURCES, Source

logger = logging.getLogger(__name__)

GRADER_HINT = "answers are expressions: set +reward.custom_reward_function.reward_kwargs.grader=math_verify"


def convert(
    records: Iterable[dict], name: str, split: str, *, prompt: str | None = None, origin: str = ""
) -> list[dict]:
    """Records as rows of verl's schema; a question that comes again is left out.

    Args:
        name: one of ``SOURCES``, which becomes ``data_source``.
        prompt: one of ``PROMPTS``; the data set's own by default.
        origin: what the records come from, for error messages.

    Raises:
        ValueError: naming origin, record, column and fix.
    """
    source = SOURCES[name]
    ask = PROMPTS[prompt or source.prompt]
    rows: dict[str, dict] = {}
    count = 0
    for count, record in enumerate(records, start=1):
        try:
            question, answer = question_and_answer(record, source)
        except ValueError as error:
            raise ValueError(f"{origin or name}: record {count}: {error}") from error
        rows.setdefault(
            question,
            training_row(
                source=name, messages=ask(question), answer=answer, split=split, index=len(rows), question=question
            ),
        )
    if len(rows) < count:
        logger.info("%s: %d of %d questions come again and are left out", origin or name, count - len(rows), count)
    return list(rows.values())


def prepare(
    name: str, out: Path, *, files: dict[str, Path] | None = None, prompt: str | None = None, limit: int | None = None
) -> list[Path]:
    """Write every split of a data set, or those of ``files``, and return what was written.

    Args:
        files: local file of each split; the hub when empty.
        limit: at most so many problems of each split, the first ones.

    Raises:
        ValueError: unknown names, or a record that cannot be read.
        ConnectionError: the hub is out of reach; the message names the file to give instead.
    """
    source = _known(name, prompt, files or {})
    written = []
    for split in files or source.splits:
        origin = str(files[split]) if files else source.splits[split].path
        records = read_records(files[split]) if files else _from_hub(name, split)
        records = records[:limit] if limit else records
        progress = track(records, description=f"{name} {split}", total=len(records))
        path = out / f"{name}-{split}.parquet"
        rows = convert(progress, name, split, prompt=prompt, origin=origin)
        write_rows(rows, path)
        logger.info("wrote %s: %d problems (%s)", path, len(rows), source.licence)
        written.append(path)
    if not source.number:
        logger.info("%s: %s", name, GRADER_HINT)
    return written


def _known(name: str, prompt: str | None, files: dict[str, Path]) -> Source:
    if name not in SOURCES:
        raise ValueError(f"data set {name!r} is unknown: use one of {', '.join(SOURCES)}")
    if prompt is not None and prompt not in PROMPTS:
        raise ValueError(f"--prompt {prompt} is unknown: use one of {', '.join(PROMPTS)}")
    for split in files:
        if split not in SOURCES[name].splits:
            raise ValueError(f"--file {split}=...: {name} has the splits {', '.join(SOURCES[name].splits)}")
    return SOURCES[name]


def _from_hub(name: str, split: str) -> list[dict]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    place = SOURCES[name].splits[split]
    try:
        dataset = load_dataset(place.path, place.config, split=place.split)
    except (ConnectionError, DatasetNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(
            f"{place.path} cannot be fetched from the hub ({reason}). Without a network, or with HF_HUB_OFFLINE=1, "
            f"give the published file: verl-softthink data {name} --file {split}=FILE"
        ) from error
    return list(dataset)


def parse_files(arguments: list[str]) -> dict[str, Path]:
    """``SPLIT=FILE`` arguments.

    Raises:
        ValueError: one is not of this form.
    """
    files = {}
    for argument in arguments:
        split, equals, path = argument.partition("=")
        if not (split and equals and path):
            raise ValueError(f"--file {argument}: write SPLIT=FILE, e.g. --file train=train.jsonl")
        files[split] = Path(path)
    return files


def main(
    name: Annotated[str, typer.Argument(help=f"Data set: {', '.join(SOURCES)}.")],
    out: Annotated[Path, typer.Option(help="Directory of the parquet files.")] = Path("outputs/data"),
    file: Annotated[
        list[str] | None, typer.Option(help="SPLIT=FILE: a published .jsonl, .json or .parquet; repeat for more.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help=f"How to ask: {', '.join(PROMPTS)}.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many problems of each split.")] = None,
) -> None:
    """Write a public data set as verl parquet files, from the hub or from local files."""
    prepare(name, out, files=parse_files(file or []), prompt=prompt, limit=limit)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    typer.run(main)
