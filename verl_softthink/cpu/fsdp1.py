"""FSDP 1 on a CPU.

Two of its defaults assume an accelerator: it refuses to broadcast CPU parameters from rank 0, which gloo does well,
and it pins the memory of offloaded parameters, which on a CPU are already where offloading would put them.
"""

from types import ModuleType

import torch
import torch.distributed
from torch.distributed.fsdp import FullyShardedDataParallel


class CPUFullyShardedDataParallel(FullyShardedDataParallel):
    """FSDP 1 without offloading, whose module has rank 0's weights before it is sharded."""

    def __init__(self, module: torch.nn.Module, *, sync_module_states: bool = False, **kwargs):
        if sync_module_states:
            broadcast(module)
        super().__init__(module, **{**kwargs, "cpu_offload": None})


def broadcast(module: torch.nn.Module) -> None:
    """Give every rank rank 0's parameters and buffers; a module on the meta device is allocated first."""
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        module.to_empty(device="cpu")
    for tensor in (*module.parameters(), *module.buffers()):
        torch.distributed.broadcast(tensor.detach(), src=0)


def register(engines: ModuleType) -> None:
    """Use it in ``verl.workers.engine.fsdp.transformer_impl``."""
    engines.FSDP = CPUFullyShardedDataParallel
