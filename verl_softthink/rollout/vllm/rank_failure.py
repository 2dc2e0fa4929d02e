"""A tensor-parallel rank that fails a step ends its process, so that the engine ends with it.

vLLM's executor hears the first rank alone. When a step raises on another one, that rank logs it and takes the next
step, with a history that lacks this one: the engine serves mixtures of which a part is wrong, or waits in a collective
until ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS`` (300) have passed. A worker's process that is gone vLLM notices at once:
it ends every request.
"""

import functools
from collections.abc import Callable
from types import TracebackType

from vllm.distributed import get_tp_group


def install(worker_class: type) -> None:
    """Wrap both halves of a step; an engine that has had no soft request fails as before."""
    worker_class.execute_model = _ending(worker_class.execute_model)
    worker_class.sample_tokens = _ending(worker_class.sample_tokens)


def _ending(step: Callable) -> Callable:
    @functools.wraps(step)
    def ending(self, *args, **kwargs):
        with _EndOfUnheardRank(self):
            return step(self, *args, **kwargs)

    return ending


class RankFailed(SystemExit):
    """Ends the process of a worker: its loop goes on after any ``Exception``."""


class _EndOfUnheardRank:
    """Raise ``RankFailed`` for whatever a worker raises where the executor would not hear of it."""

    def __init__(self, worker):
        self._worker = worker

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        soft = getattr(self._worker.model_runner, "_softthink", None) is not None
        if not (soft and isinstance(error, Exception)):
            return
        group = get_tp_group()
        if group.rank_in_group > 0:
            raise RankFailed(
                f"softthink: tensor-parallel rank {group.rank_in_group} failed a step and ends the engine, as no other "
                f"rank would notice: {kind.__name__}: {error}"
            ) from error
