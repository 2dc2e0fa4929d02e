"""Where an evaluation keeps its samples, so that one that was stopped continues where it was.

    DIR/settings.json            what the samples depend on
    DIR/samples/MODE/00000.json  the samples of one chunk of problems, written whole or not at all

A second start with other settings is refused by the names of the keys: its samples would not belong together. Modes may
be added, since each has its own settings.
"""

import json
from pathlib import Path

from verl_softthink.evaluation.samples import Sample

_MODES = "modes"


class SampleStore:
    """Samples of one evaluation.

    Args:
        directory: made if it is missing.
        settings: JSON values that the samples depend on; under ``modes`` those of each mode.

    Raises:
        ValueError: when the directory holds samples of other settings, naming each key with both values.
    """

    def __init__(self, directory: Path, settings: dict):
        self._directory = directory
        path = directory / "settings.json"
        settings = json.loads(json.dumps(settings))
        if path.exists():
            settings = _merged(json.loads(path.read_text(encoding="utf-8")), settings, directory)
        write_json(settings, path)

    def has(self, mode: str, chunk: int) -> bool:
        """Whether a chunk is complete."""
        return self._path(mode, chunk).exists()

    def write(self, mode: str, chunk: int, samples: list[Sample]) -> None:
        """Store a whole chunk."""
        write_json([sample.as_dict() for sample in samples], self._path(mode, chunk))

    def read(self, mode: str, chunk: int) -> list[Sample]:
        """A stored chunk."""
        text = self._path(mode, chunk).read_text(encoding="utf-8")
        return [Sample.from_dict(values) for values in json.loads(text)]

    def _path(self, mode: str, chunk: int) -> Path:
        return self._directory / "samples" / mode / f"{chunk:05d}.json"


def write_json(values: object, path: Path) -> None:
    """Write a JSON file, atomically: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _merged(old: dict, new: dict, directory: Path) -> dict:
    """The settings of both starts, which may differ in what modes they have."""
    shared = old[_MODES].keys() & new[_MODES].keys()
    before = _flat({**old, _MODES: {mode: old[_MODES][mode] for mode in shared}})
    now = _flat({**new, _MODES: {mode: new[_MODES][mode] for mode in shared}})
    changed = [key for key in before | now if before.get(key) != now.get(key)]
    if changed:
        lines = "\n".join(f"  {key}: {before.get(key)!r} before, {now.get(key)!r} now" for key in changed)
        raise ValueError(f"{directory} holds samples of other settings:\n{lines}\nuse another --out, or remove it")
    return {**new, _MODES: old[_MODES] | new[_MODES]}


def _flat(node: dict, prefix: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        leaves |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return leaves
