"""What methods need to continue a run, in a file beside verl's checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import torch

from verl_softthink.methods.stage import Stage

STATE_FILE = "softthink.pt"


def save_states(folder: Path, stages: Mapping[str, Stage]) -> None:
    """Write the states of ``stages``, by group; nothing where no stage has one."""
    states = {group: state for group, stage in stages.items() if (state := stage.state_dict())}
    if states:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(states, folder / STATE_FILE)


def load_states(folder: Path, stages: Mapping[str, Stage]) -> None:
    """Give every stage its state back; a stage that the checkpoint does not know begins anew."""
    if not (folder / STATE_FILE).exists():
        return
    # Prompts are Python objects; verl reads its own data.pt beside it in the same way.
    states = torch.load(folder / STATE_FILE, weights_only=False)
    for group, stage in stages.items():
        if group in states:
            stage.load_state_dict(states[group])
