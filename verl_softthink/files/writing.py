"""Writing files whole or not at all: a reader, or a process that was killed, finds the old file or the new one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verl_softthink.errors import about_file

#: Ending of a file that is not whole yet; the next attempt overwrites it.
PARTIAL = ".partial"


@contextmanager
def whole_file(path: Path, *kinds: type[Exception]) -> Iterator[Path]:
    """Where to write a file, which is moved to ``path`` at the end of the block, when it is on the disk.

    Args:
        path: its folder is made if it is missing.
        kinds: what the library that writes raises when it cannot, beside errors of the operating system.

    Raises:
        FileError: it cannot be written, such as on a full disk; what was there stays.
    """
    partial = path.with_name(path.name + PARTIAL)
    with about_file(path, *kinds, advice="it cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)


def write_text(text: str, path: Path) -> None:
    """Write a text in UTF-8.

    Raises:
        FileError: as ``whole_file``.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(value: object, path: Path) -> None:
    """Write a JSON file, indented.

    Raises:
        FileError: as ``whole_file``.
    """
    write_text(json.dumps(value, indent=1) + "\n", path)


def _sync(path: Path) -> None:
    """Wait until a file or directory is on the disk: a rename may otherwise get there before what it renames."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
