"""Ranks of one process group in processes of their own, forked from one that has imported what they need."""

import multiprocessing
from collections.abc import Callable

import torch.multiprocessing

RANKS = 2
#: Half of what a rank would do is import these; the server that the ranks are forked from does it once.
PRELOADED = ["verl.workers.engine.fsdp", "verl_softthink.likelihood.engine"]


def run_on_ranks(function: Callable, *arguments: object) -> None:
    """Call ``function(rank, RANKS, *arguments)`` on every rank, and wait for all.

    Raises:
        torch.multiprocessing.ProcessRaisedException: with the traceback of the first rank that failed.
    """
    multiprocessing.set_forkserver_preload(PRELOADED)
    torch.multiprocessing.start_processes(function, (RANKS, *arguments), nprocs=RANKS, start_method="forkserver")
