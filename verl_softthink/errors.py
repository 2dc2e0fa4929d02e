"""Errors that a user can mend are one sentence on standard error and exit code 2, not a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

#: Bad input: a missing or unreadable file, a wrong value. Anything else is a bug and keeps its traceback.
MENDABLE = (ValueError, OSError, ModuleNotFoundError)
BAD_INPUT = 2
#: Characters of a reason that is another library's: some quote the whole file.
LONGEST_REASON = 300


class FileError(ValueError):
    """A file or folder that cannot be read or written, or is not what it is taken for; the message begins with it."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(f"{path}: {reason}")


@contextmanager
def about_file(path: Path | str, *kinds: type[Exception], advice: str = "") -> Iterator[None]:
    """Say of which file an error of the block is: errors of the operating system, and of the ``kinds`` of a library.

    Args:
        advice: what to do about it, as the end of the sentence.

    Raises:
        FileError: with the path, the reason and the advice.
    """
    try:
        yield
    except FileError:
        raise
    except (OSError, *kinds) as error:
        raise FileError(path, _reason(error) + (f"; {advice}" if advice else "")) from error


def _reason(error: Exception) -> str:
    """What an error says, in one line; of one of the operating system its text alone, as the path is named already."""
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn a mendable error of the block into its message and exit code 2."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read the output has gone: click ends the program without a word.
        raise
    except MENDABLE as error:
        path = getattr(error, "filename", None)
        message = str(error) if path is None else f"{path}: {_reason(error)}"
        Console(file=sys.stderr, soft_wrap=True).print(message, markup=False, highlight=False, style="red")
        raise typer.Exit(BAD_INPUT) from error
