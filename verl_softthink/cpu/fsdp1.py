"""FSDP 1 on a CPU.

Two of its defaults suppose an accelerator: it refuses to broadcast CPU parameters from rank 0, which gloo does well,
and it pins the memory of offloaded parameters, which on a CPU are already where offloading would put them.
"""

from types import ModuleType

import torch
import torch.distributed.fsdp._init_utils as fsdp_init
from torch.distributed.fsdp import FullyShardedDataParallel


class CPUFullyShardedDataParallel(FullyShardedDataParallel):
    """FSDP 1 without offloading."""

    def __init__(self, module: torch.nn.Module, **kwargs):
        super().__init__(module, **{**kwargs, "cpu_offload": None})


def register(engines: ModuleType) -> None:
    """Use it in ``verl.workers.engine.fsdp.transformer_impl``."""
    engines.FSDP = CPUFullyShardedDataParallel
    fsdp_init._check_module_states_for_sync_module_states = accept


def accept(module_states: list[torch.Tensor]) -> None:
    """Parameters on a CPU can be broadcast over gloo."""
