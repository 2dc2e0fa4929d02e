"""math-verify in processes of its own: its time limits need a main thread, which a reward worker does not offer."""

import functools
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor

#: Checks at the same time, per reward worker.
PROCESSES = 2
_creation = threading.Lock()


def equal(solution: str, ground_truth: str) -> bool:
    """Whether the solution's answer is mathematically equal to the ground truth; an unreadable answer is not."""
    with _creation:
        pool = _pool()
    return pool.submit(_equal, solution, ground_truth).result()


@functools.cache
def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn"))


def _equal(solution: str, ground_truth: str) -> bool:
    from math_verify import parse, verify

    return verify(parse(f"\\boxed{{{ground_truth}}}"), parse(solution))
