"""A working directory whose stages can be interrupted: each stage is a folder of shards, each shard is whole or absent.

WORK/settings.json      the settings that every file below was made with
WORK/<stage>/00000.jsonl   one JSON record per question of the shard
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import track

from verl_softthink.methods.variational.offline.settings import OfflineSettings


class Store:
    """The working directory.

    Raises:
        ValueError: when it holds the work of other settings.
    """

    def __init__(self, root: Path, settings: OfflineSettings):
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        file, wanted = root / "settings.json", settings.model_dump(mode="json")
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            different = [key for key in wanted if found.get(key) != wanted[key]]
            if different:
                key = different[0]
                raise ValueError(
                    f"{root} holds the work of other settings ({key}={found.get(key)!r}, now {wanted[key]!r}); choose "
                    "another --work, or remove that directory"
                )
        else:
            _write(file, json.dumps(wanted, indent=2))

    def shard(self, stage: str, number: int) -> Path:
        """The file of one shard."""
        return self.root / stage / f"{number:05d}.jsonl"

    def pending(self, stage: str, shards: int) -> list[int]:
        """Numbers of the shards that are not there yet."""
        return [number for number in range(shards) if not self.shard(stage, number).exists()]

    def run(
        self, stage: str, shards: Sequence[Sequence[dict]], compute: Callable[[Sequence[dict]], list[dict]]
    ) -> None:
        """Make the missing shards of a stage from its inputs, with a progress bar.

        Args:
            shards: the inputs of every shard.
            compute: one record for each input.
        """
        for number in track(self.pending(stage, len(shards)), description=f"{stage:>8}"):
            records = compute(shards[number])
            _write(self.shard(stage, number), "".join(json.dumps(record) + "\n" for record in records))

    def read(self, stage: str, shards: int) -> list[list[dict]]:
        """The records of a complete stage, by shard."""
        return [
            [json.loads(line) for line in self.shard(stage, number).read_text(encoding="utf-8").splitlines()]
            for number in range(shards)
        ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
