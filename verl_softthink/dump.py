"""The rollout dump: every response of a training step with its trace, in one safetensors file per step.

Written beside verl's own JSONL dump (``trainer.rollout_data_dir``) as ``traces-<step>.safetensors``, atomically and
synced to the disk: a crash leaves complete files only, and at worst a ``.partial`` that the next step overwrites. A
position costs 8K + 16 bytes for K candidate slots (56 bytes for K = 5) and 4 bytes more for every field that a method
adds; a prompt token costs 4 bytes, and a response at most 1200 bytes for names and numbers, 150 more for every such
field, and its answer's text. 512 responses of 1000 positions: 29 MB.
"""

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from verl_softthink.trace import SoftTrace

#: Drawn embeddings stay out: a page shows candidates, and H numbers a position would be most of the file.
_DROPPED = ("end_reason", "cut", "scale", "fed", "seed")
_TRACE_TENSORS = tuple(f.name for f in fields(SoftTrace) if f.name not in _DROPPED)
_RECORD = "responses"


@dataclass(frozen=True)
class DumpedResponse:
    """One response of a dump.

    Attributes:
        key: verl's key of the trajectory, ``{prompt uid}_{session}_{index}``.
        prompt_ids, response_ids: [P] and [T] int32.
        trace: of its T positions.
        reward: of the response.
        answer: the right answer, where the data set has one.
        extra: [T] float32 each, what methods add to every position, by the name of the field.
    """

    key: str
    prompt_ids: Tensor
    response_ids: Tensor
    trace: SoftTrace
    reward: float
    answer: str | None
    extra: dict[str, Tensor] = field(default_factory=dict)


def dump_path(directory: Path, step: int) -> Path:
    """The file of one step."""
    return directory / f"traces-{step}.safetensors"


def write_dump(responses: list[DumpedResponse], law: dict, path: Path) -> None:
    """Write one step's responses; ``law`` holds the settings that the traces were drawn with."""
    tensors: dict[str, Tensor] = {}
    record = {"law": law, _RECORD: []}
    for number, response in enumerate(responses):
        record[_RECORD].append(
            {
                "key": response.key,
                "reward": response.reward,
                "answer": response.answer,
                "end_reason": response.trace.end_reason,
                "extra": sorted(response.extra),
            }
        )
        tensors[f"{number}/prompt_ids"] = response.prompt_ids.int().contiguous()
        tensors[f"{number}/response_ids"] = response.response_ids.int().contiguous()
        for name in _TRACE_TENSORS:
            tensors[f"{number}/{name}"] = getattr(response.trace, name).contiguous()
        for name, values in response.extra.items():
            tensors[f"{number}/{name}"] = values.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={_RECORD: json.dumps(record)})
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file or directory is on the disk: a rename may otherwise get there before what it renames."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_dump(path: Path) -> tuple[list[DumpedResponse], dict]:
    """Read a dump back: its responses and the law's settings.

    Raises:
        ValueError: when the file is not a dump, or one of another version of the package.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if _RECORD not in metadata:
            raise ValueError(f"{path} is not a rollout dump of verl_softthink; give a traces-<step>.safetensors file")
        record = json.loads(metadata[_RECORD])
        present = set(file.keys())
        if lacking := [name for name in _TRACE_TENSORS if record[_RECORD] and f"0/{name}" not in present]:
            raise ValueError(
                f"{path} has no {', '.join(lacking)} of its responses: another version of verl_softthink wrote it; "
                "read it with that one, or run the step again"
            )
        responses = []
        for number, entry in enumerate(record[_RECORD]):
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(f"{number}/{name}") for name in _TRACE_TENSORS}
            responses.append(
                DumpedResponse(
                    key=entry["key"],
                    prompt_ids=file.get_tensor(f"{number}/prompt_ids"),
                    response_ids=file.get_tensor(f"{number}/response_ids"),
                    trace=SoftTrace(**tensors, end_reason=entry["end_reason"]),
                    reward=entry["reward"],
                    answer=entry["answer"],
                    extra={name: file.get_tensor(f"{number}/{name}") for name in entry["extra"]},
                )
            )
    return responses, record["law"]
