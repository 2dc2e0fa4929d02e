"""Published files as records: JSON lines, a JSON list or parquet, and question and answer of one record."""

import json
from collections.abc import Iterator
from pathlib import Path

from verl_softthink.data.guarded_reward import no_answer
from verl_softthink.data.sources import Source, bare_question

SUFFIXES = (".jsonl", ".json", ".parquet")


def read_records(path: Path) -> list[dict]:
    """The records of a file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: naming the file, the line and the fix.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a published file ({', '.join(SUFFIXES)})")
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of file; give one that ends in {', '.join(SUFFIXES)}")
    text = path.read_text(encoding="utf-8")
    records = list(_lines(path, text)) if path.suffix == ".jsonl" else _whole(path, text)
    if not records:
        raise ValueError(f"{path} holds no records; give the published file")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise ValueError(f"{path}: record {number} is a {type(record).__name__}, not an object with columns")
    return records


def _parquet(path: Path) -> list[dict]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a parquet file ({reason}); download it again") from error
    return table.to_pylist()


def _lines(path: Path, text: str) -> Iterator[object]:
    # Not splitlines(): texts may hold line separators other than \n.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{number} is not JSON ({error.msg}); download the file again") from error


def _whole(path: Path, text: str) -> list:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno} is not JSON ({error.msg}); if every line is an object, name the file .jsonl"
        ) from error
    return document if isinstance(document, list) else [document]


def question_and_answer(record: dict, source: Source) -> tuple[str, str]:
    """The bare question and the answer of a record in the data set's own columns, or in verl's schema.

    Raises:
        ValueError: naming the column and what is there instead.
    """
    if isinstance(record.get("reward_model"), dict) and isinstance(record.get("prompt"), list):
        question, answer, read, column = _verl(record)
        read = source.read_answer if read is None else read
    else:
        question = record[_column(record, source.question, "question")]
        column = _column(record, source.answer, "answer")
        answer, read = record[column], source.read_answer
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"the question is {question!r}, not a text")
    try:
        text = "" if no_answer(answer) else read(answer)
    except ValueError as error:
        raise ValueError(f"column {column}: {error}") from error
    if no_answer(text):
        raise ValueError(f"column {column}: the answer is {answer!r}, which is none")
    return bare_question(question), text


def _verl(record: dict):
    from verl_softthink.data.sources import plain

    users = [message["content"] for message in record["prompt"] if message.get("role") == "user"]
    if not users:
        raise ValueError("column prompt has no message of the user")
    return users[-1], record["reward_model"].get("ground_truth"), plain, "reward_model.ground_truth"


def _column(record: dict, names: tuple[str, ...], what: str) -> str:
    for name in names:
        if name in record:
            return name
    raise ValueError(
        f"no column for the {what}: expected {' or '.join(names)}, found {', '.join(record) or 'none'}; rename the "
        "column or choose another data set"
    )
