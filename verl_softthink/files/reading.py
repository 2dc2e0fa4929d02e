"""Reading text, JSON, YAML and parquet that may be anything: what comes back is of the kind that was asked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from verl_softthink.errors import FileError, about_file

Value = TypeVar("Value")


def regular(path: Path) -> Path:
    """The path, if a regular file is there: a pipe or a device may have no end.

    Raises:
        FileError: there is none.
    """
    if not path.is_file():
        found = "a directory" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise FileError(path, f"there is {found} where a file is needed")
    return path


def read_text(path: Path, advice: str = "give a text file in UTF-8") -> str:
    """A whole text in UTF-8, with its line breaks as they are.

    Raises:
        FileError: it is not there, cannot be read, or is not UTF-8.
    """
    with about_file(regular(path), UnicodeDecodeError, advice=advice):
        return path.read_bytes().decode("utf-8")


def parse_json(text: str, place: Path | str, advice: str = "make or download it again") -> Any:
    """The value of a JSON text.

    Args:
        place: the file, or the line of a file, that it is from.

    Raises:
        FileError: the text is not JSON, is nested too deeply, or holds half of a surrogate pair, which is no character.
    """
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise FileError(place, f"it is not JSON ({' '.join(str(error).split()):.100}); {advice}") from error
    return value


def read_json(path: Path, advice: str = "make or download it again") -> Any:
    """The value of a JSON file.

    Raises:
        FileError: as ``read_text`` and ``parse_json``.
    """
    return parse_json(read_text(path, advice), path, advice)


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Number and value of every line of a JSON lines file that is not blank.

    Raises:
        FileError: as ``read_text`` and ``parse_json``; it names the line.
    """
    # Not splitlines(): texts may hold line separators other than \n.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, parse_json(line, f"{path}:{number}")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file; an empty file is an empty one.

    Raises:
        FileError: it cannot be read, is not YAML, or is not a mapping with names as keys.
    """
    import yaml

    with about_file(path, yaml.YAMLError, ValueError, RecursionError, advice="give a YAML file of KEY: VALUE"):
        values = yaml.safe_load(read_text(path))
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise FileError(path, f"it holds a {type(values).__name__} of other than names; give a YAML file of KEY: VALUE")
    return values


def read_parquet(path: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file.

    Raises:
        FileError: it cannot be read, or is not parquet.
    """
    import pyarrow
    from pyarrow import parquet

    # Besides Arrow's own errors: texts that are not UTF-8, times and numbers that Python has no value for.
    kinds = (pyarrow.ArrowException, ValueError, OverflowError, KeyError, TypeError)
    with about_file(regular(path), *kinds, advice="it is not a parquet file, or damaged; make or download it again"):
        return parquet.ParquetFile(path).read().to_pylist()


def checked(kind: type[Value], value: Any, place: Path | str, what: str = "") -> Value:
    """The value as ``kind`` says, or what is wrong with it.

    Args:
        kind: what the value must be: a model, a data class or any other type that pydantic knows.
        place: the file, or the part of it, that the value is from.
        what: what a value of another kind is not.

    Raises:
        FileError: naming place, key and reason of the first problem.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"]) or "its content"
        reason = f"{key}: {problem['msg']}"
        raise FileError(place, f"it is {what} ({reason})" if what else reason) from error
