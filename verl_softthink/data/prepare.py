"""Public data sets as verl parquet files, from the Hugging Face hub or from files.

    verl-softthink data gsm8k --out outputs/data
    verl-softthink data gsm8k --out outputs/data --file test=gsm8k_test.jsonl
    verl-softthink data own --out outputs/data --file train=questions.jsonl
    python -m verl_softthink.data.prepare gsm8k outputs/data      (scripts, with an interpreter of their own)

Writes ``OUT/<name>-<split>.parquet``.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.data.prompts import PROMPTS, asks_for
from verl_softthink.data.read_number import read_number
from verl_softthink.data.records import question_and_answer, read_records
from verl_softthink.data.sources import SOURCES, Source

logger = logging.getLogger(__name__)


def convert(
    records: Iterable[dict], name: str, split: str, *, prompt: str | None = None, origin: str = "", skip: bool = False
) -> list[dict]:
    """Records as rows of verl's schema; a question that comes again is left out.

    Args:
        name: one of ``SOURCES``.
        prompt: one of ``PROMPTS``; the data set's own by default.
        origin: what the records come from, for error messages.
        skip: leave out records that cannot be read, and say how many.

    Raises:
        ValueError: naming origin, record, column and fix.
    """
    source = SOURCES[name]
    ask = PROMPTS[prompt or source.prompt]
    rows: dict[str, dict] = {}
    count = unreadable = 0
    for count, record in enumerate(records, start=1):
        try:
            question, answer = question_and_answer(record, source)
        except ValueError as error:
            if not skip:
                raise ValueError(
                    f"{origin or name}: record {count}: {error}; mend the file, leave such records out with "
                    "--skip-unreadable, or give a file of another form to verl-softthink data own"
                ) from error
            unreadable += 1
            continue
        rows.setdefault(
            question,
            training_row(
                source=source.data_source,
                messages=ask(question),
                answer=answer,
                split=split,
                index=len(rows),
                question=question,
            ),
        )
    again = count - unreadable - len(rows)
    for number, what in ((unreadable, "cannot be read"), (again, "come again")):
        if number:
            logger.info("%s: %d of %d records %s and are left out", origin or name, number, count, what)
    return list(rows.values())


def prepare(
    name: str,
    out: Path,
    *,
    files: dict[str, Path] | None = None,
    prompt: str | None = None,
    limit: int | None = None,
    skip: bool = False,
) -> list[Path]:
    """Write every split of a data set, or those of ``files``, and return what was written.

    Args:
        files: local file of each split; the hub when empty.
        limit: at most so many problems of each split, the first ones.
        skip: leave out records that cannot be read.

    Raises:
        ValueError: unknown names, or a record that cannot be read.
        ConnectionError: the hub is out of reach; the message names the file to give instead.
    """
    source = _known(name, prompt, files or {})
    written, numbers = [], True
    for split in files or source.splits:
        origin = str(files[split]) if files else source.splits[split].path
        records = read_records(files[split]) if files else _from_hub(name, split)
        records = records[:limit] if limit else records
        progress = track(records, description=f"{name} {split}", total=len(records))
        path = out / f"{name}-{split}.parquet"
        rows = convert(progress, name, split, prompt=prompt, origin=origin, skip=skip)
        write_rows(rows, path)
        # What the publisher says of a licence is said of what is on the hub.
        licence = "" if files else f" ({source.licence})"
        logger.info("wrote %s: %d problems%s", path, len(rows), licence)
        written.append(path)
        numbers = numbers and all(read_number(row["reward_model"]["ground_truth"]) is not None for row in rows)
    for sentence in describe(source, prompt or source.prompt, numbers=numbers):
        logger.info("%s: %s", name, sentence)
    return written


def describe(source: Source, prompt: str, *, numbers: bool) -> list[str]:
    """What rows that were written hold, and which reward functions grade them, in sentences.

    Args:
        prompt: one of ``PROMPTS``.
        numbers: whether every answer is a number, which our default grader needs.
    """
    place = asks_for(prompt)
    ours = "reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward"
    if not numbers:
        ours += " +reward.custom_reward_function.reward_kwargs.grader=math_verify (not every answer is a number)"
    if source.scorer_reads is None:
        graders = f"verl has no scorer of its own for {source.data_source}: set {ours}"
    elif source.scorer_reads == place:
        graders = f"graded by verl's own scorer of {source.data_source}, with nothing to set, or by {ours}"
    else:
        fitting = " or ".join(name for name in PROMPTS if asks_for(name) == source.scorer_reads)
        graders = (
            f"verl's own scorer of {source.data_source} reads {source.scorer_reads}, which this prompt does not ask "
            f"for: take --prompt {fitting}, or set {ours}"
        )
    return [
        f"columns data_source ({source.data_source}), prompt, ability, reward_model.ground_truth and extra_info "
        "(split, index, question)",
        f"--prompt {prompt} asks for the answer as {place}",
        graders,
    ]


def _known(name: str, prompt: str | None, files: dict[str, Path]) -> Source:
    if name not in SOURCES:
        raise ValueError(f"data set {name!r} is unknown: use one of {', '.join(SOURCES)}")
    if prompt is not None and prompt not in PROMPTS:
        raise ValueError(f"--prompt {prompt} is unknown: use one of {', '.join(PROMPTS)}")
    for split in files:
        if split not in SOURCES[name].splits:
            raise ValueError(f"--file {split}=...: {name} has the splits {', '.join(SOURCES[name].splits)}")
    if not files and None in SOURCES[name].splits.values():
        raise ValueError(f"data {name} has nothing on the hub: give your file, --file train=FILE")
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
    name: str, out: Path, prompt: Annotated[str | None, typer.Option(help="How questions are asked.")] = None
) -> None:
    """What the recipes' scripts ask for; ``verl-softthink data`` has all the options."""
    prepare(name, out, prompt=prompt)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    typer.run(main)
