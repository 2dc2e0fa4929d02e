"""Published files as records: JSON lines, a JSON list or parquet, and question and answer of one record."""

from pathlib import Path

from verl_softthink.data.guarded_reward import no_answer
from verl_softthink.data.parquet import Message
from verl_softthink.data.sources import Source, bare_question
from verl_softthink.errors import FileError
from verl_softthink.files.reading import read_json, read_json_lines, read_parquet

SUFFIXES = (".jsonl", ".json", ".parquet")


def read_records(path: Path) -> list[dict]:
    """The records of a file.

    Raises:
        FileNotFoundError: when there is no such file.
        FileError: naming the file, the line and the fix.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is no file: give a published file ({', '.join(SUFFIXES)})")
    if path.suffix not in SUFFIXES:
        raise FileError(path, f"unknown kind of file; give one that ends in {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        records = read_parquet(path)
    elif path.suffix == ".jsonl":
        records = [record for _, record in read_json_lines(path)]
    else:
        document = read_json(path, "if every line is an object, name the file .jsonl")
        records = document if isinstance(document, list) else [document]
    if not records:
        raise FileError(path, "it holds no records; give the published file")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise FileError(path, f"record {number} is a {type(record).__name__}, not an object with columns")
    return records


def messages_of(record: dict) -> list[Message]:
    """The prompt of a record in verl's schema.

    Raises:
        ValueError: it is not a list of messages with texts.
    """
    prompt = record["prompt"]
    sound = isinstance(prompt, list) and all(
        isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))
        for message in prompt
    )
    if not sound or not prompt:
        raise ValueError(f"column prompt: {prompt!r:.200} is no list of messages with the texts role and content")
    return [dict(message) for message in prompt]


def ground_truth_of(record: dict) -> object:
    """The right answer of a record in verl's schema.

    Raises:
        ValueError: ``reward_model`` is not a record with one.
    """
    reward_model = record["reward_model"]
    if not isinstance(reward_model, dict) or "ground_truth" not in reward_model:
        raise ValueError(f"column reward_model: {reward_model!r:.200} has no ground_truth")
    return reward_model["ground_truth"]


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

    users = [message["content"] for message in messages_of(record) if message["role"] == "user"]
    if not users:
        raise ValueError("column prompt has no message of the user")
    return users[-1], ground_truth_of(record), plain, "reward_model.ground_truth"


def _column(record: dict, names: tuple[str, ...], what: str) -> str:
    for name in names:
        if name in record:
            return name
    raise ValueError(
        f"no column for the {what}: expected {' or '.join(names)}, found {', '.join(record) or 'none'}; rename the "
        "column or choose another data set"
    )
