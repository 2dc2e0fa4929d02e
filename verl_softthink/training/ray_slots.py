"""Enough slots in the Ray cluster: verl would wait for missing ones without a word and without an end.

Ray counts processes by logical CPU slots. verl reserves some of one node for each FSDP worker on it, the TransferQueue
takes one for its controller and one for each storage unit, and any other process needs one to start.
"""

from types import ModuleType

import ray
from omegaconf import DictConfig, OmegaConf

from verl_softthink.training.modes import MODES

#: The TransferQueue's controller, and one for whatever starts next; other actors hold none once they run.
CONTROLLER, STARTING = 1, 1
_CPU = "CPU"


def reserved() -> int:
    """CPU slots that verl reserves for an FSDP worker."""
    from verl.single_controller.ray.base import ResourcePoolManager

    return ResourcePoolManager.max_colocate_count


def needed(config: DictConfig) -> int:
    """CPU slots that a run of verl's takes, of a cluster of its own."""
    units = OmegaConf.select(config, "transfer_queue.backend.SimpleStorage.num_data_storage_units") or 0
    return CONTROLLER + units + reserved() * config.trainer.n_gpus_per_node + STARTING


def missing(free: float, largest: float, workers: int, nodes: int, rest: int) -> str | None:
    """A sentence where slots do not suffice; None where they do.

    Args:
        free: CPU slots that are free in the cluster.
        largest: CPU slots of its largest node, free or not.
        workers: FSDP workers of a node.
        nodes: with so many workers.
        rest: slots needed beside theirs.
    """
    each = reserved()
    on_a_node = each * workers
    if largest >= on_a_node and free >= on_a_node * nodes + rest:
        return None
    return (
        f"the Ray cluster has {free:g} free CPU slots, {largest:g} on its largest node, and this run waits for "
        f"{on_a_node} on each of {nodes} nodes ({each} for an FSDP worker) and {rest} more, without an end: start "
        "the cluster with a larger ray start --num-cpus=N, or the run's own with a larger "
        "ray_kwargs.ray_init.num_cpus"
    )


def check_cluster(workers: int, nodes: int, rest: int) -> None:
    """Compare the cluster that this process is in with what a run needs of it; nothing where there is no Ray.

    Raises:
        RuntimeError: with the slots that there are and those that are needed.
    """
    if not ray.is_initialized():
        return
    largest = max((node["Resources"].get(_CPU, 0) for node in ray.nodes() if node["Alive"]), default=0)
    problem = missing(ray.available_resources().get(_CPU, 0), largest, workers, nodes, rest)
    if problem is not None:
        raise RuntimeError(problem)


def register(v1: ModuleType) -> None:
    """``verl.trainer.ppo.v1``: whoever asks for our trainer, before the TransferQueue starts, has slots for both."""
    get_trainer_cls = v1.get_trainer_cls

    def get_with_slots(name: str):
        if name in MODES.values():
            # One FSDP worker and one storage unit, the least of all runs; the trainer compares its own numbers.
            check_cluster(workers=1, nodes=1, rest=CONTROLLER + 1 + STARTING)
        return get_trainer_cls(name)

    v1.get_trainer_cls = get_with_slots
