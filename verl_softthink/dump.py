"""The rollout dump: every response of a training step with its trace, in one safetensors file per step.

Written beside verl's own JSONL dump (``trainer.rollout_data_dir``) as ``traces-<step>.safetensors``, atomically and
synced to the disk: a crash leaves complete files only, and at worst a ``.partial`` that the next step overwrites. A
position costs 8K + 16 bytes for K candidate slots (56 bytes for K = 5) and 4 bytes more for every field that a method
adds; a prompt token costs 4 bytes, and a response at most 1200 bytes for names and numbers, 150 more for every such
field, and its answer's text. 512 responses of 1000 positions: 29 MB.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from verl_softthink.errors import FileError, about_file
from verl_softthink.files.reading import checked, parse_json, regular
from verl_softthink.files.writing import whole_file
from verl_softthink.laws.action import NO_CANDIDATE
from verl_softthink.trace import END_REASONS, SoftTrace

#: [T] each. Drawn embeddings stay out: a page shows candidates, and H numbers a position would be most of the file.
_FLAGS = ("soft", "drawn", "forced", "discrete")
_NUMBERS = ("log_prob", "entropy")
#: ``ids`` and ``values`` are [T, K].
_TRACE_TENSORS = (*_FLAGS, "ids", "values", *_NUMBERS)
_RECORD = "responses"
_ADVICE = "give a traces-<step>.safetensors file"


class _Entry(BaseModel):
    key: str
    reward: float
    answer: str | None
    end_reason: Literal[END_REASONS]
    extra: list[str]


class _Record(BaseModel):
    law: dict[str, str | bool | int | float | None]
    responses: list[_Entry]


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
    with whole_file(path, SafetensorError) as partial:
        save_file(tensors, partial, metadata={_RECORD: json.dumps(record)})


def read_dump(path: Path) -> tuple[list[DumpedResponse], dict]:
    """Read a dump back: its responses and the law's settings.

    Raises:
        FileError: the file is not a dump, one of another version of the package, or damaged.
    """
    with about_file(regular(path), SafetensorError, advice=_ADVICE), safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_RECORD)
        if text is None:
            raise FileError(path, f"it is not a rollout dump of verl_softthink; {_ADVICE}")
        record = checked(_Record, parse_json(text, path, _ADVICE), path, "no rollout dump")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    if lacking := [name for name in _TRACE_TENSORS if record.responses and f"0/{name}" not in tensors]:
        raise FileError(
            path,
            f"it has no {', '.join(lacking)} of its responses: another version of verl_softthink wrote it; read it "
            "with that one, or run the step again",
        )
    try:
        return [_response(number, entry, tensors) for number, entry in enumerate(record.responses)], record.law
    except ValueError as error:
        raise FileError(path, f"it is damaged: {error}; run the step again") from error


def _response(number: int, entry: _Entry, tensors: dict[str, Tensor]) -> DumpedResponse:
    """One response of the tensors of a file.

    Raises:
        ValueError: a tensor is missing, or has another type, shape or range than a response's.
    """

    def tensor(name: str, dtype: torch.dtype, *shape: int | None) -> Tensor:
        found = tensors.get(f"{number}/{name}")
        if found is None:
            raise ValueError(f"response {number} has no {name}")
        fits = len(found.shape) == len(shape) and all(
            size == wanted for size, wanted in zip(found.shape, shape, strict=False) if wanted is not None
        )
        if found.dtype != dtype or not fits:
            expected = f"{str(dtype).removeprefix('torch.')} {['any' if size is None else size for size in shape]}"
            raise ValueError(f"{name} of response {number} is {found.dtype} {list(found.shape)}, not {expected}")
        return found

    prompt, response = (tensor(name, torch.int32, None) for name in ("prompt_ids", "response_ids"))
    length = len(response)
    flags = {name: tensor(name, torch.bool, length) for name in _FLAGS}
    numbers = {name: tensor(name, torch.float32, length) for name in _NUMBERS}
    ids = tensor("ids", torch.int32, length, None)
    for name, values, least in (("prompt_ids", prompt, 0), ("response_ids", response, 0), ("ids", ids, NO_CANDIDATE)):
        if values.numel() and values.min() < least:
            raise ValueError(f"{name} of response {number} has {int(values.min())}, which is no token")
    # A method's field has a value for every position, or some for the whole response.
    extra = {name: tensor(name, torch.float32, None) for name in entry.extra}
    return DumpedResponse(
        key=entry.key,
        prompt_ids=prompt,
        response_ids=response,
        trace=SoftTrace(
            **flags,
            **numbers,
            ids=ids,
            values=tensor("values", torch.float32, *ids.shape),
            end_reason=entry.end_reason,
        ),
        reward=entry.reward,
        answer=entry.answer,
        extra=extra,
    )
