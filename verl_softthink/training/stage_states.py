"""What methods need to continue a run, in a file beside verl's checkpoint.

The file is JSON, with tensors as lists: reading it runs no code, whoever wrote the checkpoint.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from verl_softthink.errors import about_file
from verl_softthink.files.reading import read_text
from verl_softthink.files.writing import write_text
from verl_softthink.methods.stage import Stage

STATE_FILE = "softthink.json"
#: Keys under which a tensor is written: its numbers, and the name of its type.
_NUMBERS, _TYPE = "tensor", "dtype"
_ADVICE = "the checkpoint is damaged: resume from an earlier one with trainer.resume_mode=resume_path"


def save_states(folder: Path, stages: Mapping[str, Stage]) -> None:
    """Write the states of ``stages``, by group; nothing where no stage has one.

    Raises:
        ValueError: a state holds something that is neither a number, a text, a list, a dictionary nor a tensor.
    """
    states = {group: state for group, stage in stages.items() if (state := stage.state_dict())}
    if states:
        write_text(json.dumps(states, default=_plain), folder / STATE_FILE)


def load_states(folder: Path, stages: Mapping[str, Stage]) -> None:
    """Give every stage its state back; a stage that the checkpoint does not know begins anew.

    Raises:
        FileError: the file is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return
    with about_file(path, ValueError, TypeError, RuntimeError, advice=_ADVICE):
        states = json.loads(read_text(path, _ADVICE), object_hook=_restored)
        if not isinstance(states, dict):
            raise TypeError(f"it holds a {type(states).__name__}, not the states of methods")
    for group, stage in stages.items():
        if group in states:
            stage.load_state_dict(states[group])


def _plain(value: object) -> object:
    """What JSON has no form for: tensors, and the arrays and numbers of NumPy that a data set's rows may hold."""
    match value:
        case torch.Tensor():
            return {_NUMBERS: value.tolist(), _TYPE: str(value.dtype).removeprefix("torch.")}
        case np.ndarray() | np.generic():
            return value.tolist()
    raise ValueError(
        f"a checkpoint of a method's state cannot hold a {type(value).__name__} ({value!r:.80}): states are numbers, "
        "texts, lists, dictionaries and tensors"
    )


def _restored(entry: dict) -> object:
    if entry.keys() != {_NUMBERS, _TYPE}:
        return entry
    dtype = getattr(torch, str(entry[_TYPE]), None)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{entry[_TYPE]!r:.80} is no type of a tensor")
    return torch.tensor(entry[_NUMBERS], dtype=dtype)
