"""Moving a model between host and accelerator, on a machine where they are the same memory.

verl's ``load_fsdp_model_to_gpu`` builds the device "<name>:<index>", which does not exist for a CPU under FSDP 1.
"""

from types import ModuleType

import torch


def register(fsdp_utils: ModuleType) -> None:
    """Replace the loader of ``verl.utils.fsdp_utils``."""
    fsdp_utils.load_fsdp_model_to_gpu = stay


def stay(model: torch.nn.Module) -> None:
    """The parameters are where they will be used."""
