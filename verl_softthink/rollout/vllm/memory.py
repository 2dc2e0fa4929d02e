"""Memory of the soft requests' history: how much it is, and its place in what vLLM sizes its KV cache beside.

An engine whose ``additional_config`` has the key ``softthink`` allocates its history before vLLM measures the memory
that is left for the cache. Any other engine behaves as without this package until its first soft request, for which a
small history is allocated then; a large one would find the memory taken, so its requests are refused in the frontend.
"""

import functools
import logging

import psutil
import torch

from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.rollout.state import history_bytes
from verl_softthink.rollout.vllm.limits import announces_soft_requests, candidate_slots, carries_embeddings
from verl_softthink.rollout.vllm.soft_runner import soft_runner

logger = logging.getLogger(__name__)
#: The largest history that is allocated beside what vLLM has reserved.
UNRESERVED_BYTES = 2**30


def history_bytes_of(vllm_config) -> int:
    """Bytes of an engine's history on each of its devices."""
    model = vllm_config.model_config
    return history_bytes(
        slots=vllm_config.scheduler_config.max_num_seqs,
        length=model.max_model_len,
        width=candidate_slots(vllm_config),
        fed=(model.get_hidden_size(), model.dtype) if carries_embeddings(vllm_config) else None,
    )


def check_reserved(vllm_config) -> None:
    """Refuse an engine that has no room for its history.

    Raises:
        ValueError: naming the size and the settings that mend it.
    """
    if not announces_soft_requests(vllm_config) and (needed := history_bytes_of(vllm_config)) > UNRESERVED_BYTES:
        raise ValueError(
            f"{_sentence(vllm_config, needed)}, which this engine has not reserved: start it with "
            f"additional_config={{'{EXTRA_ARGS_KEY}': {{}}}}, or lower one of the two"
        )


def reserve_history(worker) -> None:
    """Allocate the history of a worker whose engine announces soft requests.

    Raises:
        ValueError: when it does not fit into the memory that is free, naming both and the settings that mend it.
    """
    config, device = worker.vllm_config, worker.device
    if not announces_soft_requests(config):
        return
    needed, free = history_bytes_of(config), _free_bytes(device)
    if needed > free:
        raise ValueError(f"{_sentence(config, needed)}, and {device} has {_gib(free)} left: lower one of the two")
    logger.info("%s of %s", _sentence(config, needed), device)
    soft_runner(worker.model_runner)


def install(worker_class: type) -> None:
    """Wrap ``determine_available_memory``: what soft requests need is not available to the cache."""
    determine = worker_class.determine_available_memory

    @functools.wraps(determine)
    def with_history(self) -> int:
        reserve_history(self)
        return determine(self)

    worker_class.determine_available_memory = with_history


def _free_bytes(device: torch.device) -> int:
    if device.type == "cpu":
        return psutil.virtual_memory().available
    return torch.accelerator.get_memory_info(device)[0]


def _sentence(vllm_config, needed: int) -> str:
    slots, length = vllm_config.scheduler_config.max_num_seqs, vllm_config.model_config.max_model_len
    return f"the history of soft requests takes {_gib(needed)} for max_num_seqs={slots} times max_model_len={length}"


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
