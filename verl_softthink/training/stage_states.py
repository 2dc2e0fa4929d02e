"""What methods need to continue a run, in a file beside verl's checkpoint.

The file is JSON, with tensors as lists: reading it runs no code, whoever wrote the checkpoint.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from verl_softthink.methods.stage import Stage

STATE_FILE = "softthink.json"
#: Keys under which a tensor is written: its numbers, and the name of its type.
_NUMBERS, _TYPE = "tensor", "dtype"


def save_states(folder: Path, stages: Mapping[str, Stage]) -> None:
    """Write the states of ``stages``, by group; nothing where no stage has one.

    Raises:
        ValueError: a state holds something that is neither a number, a text, a list, a dictionary nor a tensor.
    """
    states = {group: state for group, stage in stages.items() if (state := stage.state_dict())}
    if states:
        text = json.dumps(states, default=_plain)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STATE_FILE).write_text(text, encoding="utf-8")


def load_states(folder: Path, stages: Mapping[str, Stage]) -> None:
    """Give every stage its state back; a stage that the checkpoint does not know begins anew.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return
    try:
        states = json.loads(path.read_text(encoding="utf-8"), object_hook=_restored)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): resume from an earlier checkpoint with trainer.resume_mode=resume_path"
        ) from error
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
    if entry.keys() == {_NUMBERS, _TYPE}:
        return torch.tensor(entry[_NUMBERS], dtype=getattr(torch, entry[_TYPE]))
    return entry
