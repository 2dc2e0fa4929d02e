"""Errors that a user can mend are one sentence on standard error and exit code 2, not a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

#: Bad input: a missing or unreadable file, a wrong value. Anything else is a bug and keeps its traceback.
MENDABLE = (ValueError, FileNotFoundError, FileExistsError, ConnectionError, ModuleNotFoundError)
BAD_INPUT = 2


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn a mendable error of the block into its message and exit code 2."""
    try:
        yield
    except MENDABLE as error:
        Console(file=sys.stderr, soft_wrap=True).print(str(error), markup=False, highlight=False, style="red")
        raise typer.Exit(BAD_INPUT) from error
