"""A folder in which a command keeps what it has computed, so that one that was stopped continues where it was.

    FOLDER/settings.json   what the results depend on: settings, and digests of files
    FOLDER/.lock           held by the process that works in the folder, and by nobody once it is gone
    FOLDER/...             results, each written whole or not at all

A process that comes with other inputs is refused by their names, since the results would not belong together; so is one
that comes while another is at work, since the two would overwrite each other's results.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from verl_softthink.errors import FileError, about_file
from verl_softthink.files.digests import SHA256
from verl_softthink.files.reading import read_json
from verl_softthink.files.writing import write_json

INPUTS = "settings.json"
LOCK = ".lock"
#: Inputs that are named in a refusal.
NAMED = 8


class WorkFolder:
    """A folder of results, held by this process until it is closed.

    Args:
        path: made if it is missing.
        inputs: JSON values that the results depend on.
        option: what gives the path, for messages.
        growing: keys of ``inputs`` with a mapping whose entries have results of their own: a later start may add some,
            and need not name all of the earlier ones.

    Raises:
        FileError: another process is at work in the folder, or it holds results of other inputs, which are named.
    """

    def __init__(self, path: Path, inputs: Mapping[str, Any], *, option: str, growing: Collection[str] = ()):
        self.path = path
        with about_file(path, NotImplementedError, advice=f"give another {option}"):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / LOCK, timeout=0)
            try:
                self._lock.acquire()
            except Timeout as error:
                raise FileError(
                    path, f"another process is at work in it; wait until it ends, or give another {option}"
                ) from error
        try:
            self._remember(json.loads(json.dumps(inputs)), option, growing)
        except FileError:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes work in the folder."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _remember(self, inputs: dict[str, Any], option: str, growing: Collection[str]) -> None:
        file = self.path / INPUTS
        if file.exists() or file.is_symlink():
            before = read_json(file)
            if not isinstance(before, dict) or not all(isinstance(before.get(key, {}), dict) for key in growing):
                raise FileError(file, f"it does not say what the results depend on; give another {option}")
            entries = {key: before.get(key, {}) | inputs[key] for key in growing}
            if changed := _changed(before, {**inputs, **{key: _known(inputs, before, key) for key in growing}}):
                more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
                raise FileError(
                    self.path,
                    f"it holds results of other inputs ({'; '.join(changed[:NAMED])}{more}); give another {option}, "
                    "or remove the folder",
                )
            inputs = {**inputs, **entries}
            if inputs == before:
                return
        write_json(inputs, file)


def _known(inputs: dict, before: dict, key: str) -> dict:
    """Of a growing input what is to be compared: entries of both starts as they are now, others as they were."""
    return before.get(key, {}) | {name: value for name, value in inputs[key].items() if name in before.get(key, {})}


def _changed(before: dict, now: dict) -> list[str]:
    old, new = _leaves(before), _leaves(now)
    return [_change(key, old.get(key), new.get(key)) for key in old | new if old.get(key) != new.get(key)]


def _change(key: str, before: object, now: object) -> str:
    digests = [str(value).startswith(SHA256) for value in (before, now)]
    if all(digests):
        return f"{key} has other content"
    if any(digests):
        return f"{key} is {'missing' if digests[0] else 'new'}"
    return f"{key} was {before!r}, now {now!r}"


def _leaves(node: dict, prefix: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        leaves |= _leaves(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return leaves
