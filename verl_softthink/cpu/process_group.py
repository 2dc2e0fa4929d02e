"""Process groups over gloo.

verl asks for the backend "cpu:gloo,<device>:<backend>", which on a CPU names the device twice and is refused by torch.
"""

import functools
import os
from datetime import timedelta
from types import ModuleType

import torch.distributed

BACKEND = "gloo"


def register(distributed: ModuleType) -> None:
    """Give both initialisers of ``verl.utils.distributed`` the backend gloo."""
    stock = distributed.initialize_global_process_group_ray

    @functools.wraps(stock)
    def initialize_global_process_group_ray(timeout_second=None, backend=None):
        return stock(timeout_second, backend or BACKEND)

    distributed.initialize_global_process_group_ray = initialize_global_process_group_ray
    distributed.initialize_global_process_group = initialize_global_process_group


def initialize_global_process_group(timeout_second: int = 36000) -> tuple[int, int, int]:
    """verl's initialiser under torchrun: (local rank, rank, world size) from the environment; seconds."""
    torch.distributed.init_process_group(
        backend=BACKEND,
        timeout=timedelta(seconds=timeout_second),
        init_method=os.environ.get("DIST_INIT_METHOD"),
    )
    return int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
