"""Names our rollout to verl without importing vLLM: the classes are loaded when a run asks for them."""

from types import ModuleType

ROLLOUT_NAME = "softthink_vllm"


def register_replica(replica: ModuleType) -> None:
    """``verl.workers.rollout.replica``: add rollout ``softthink_vllm``."""
    replica.RolloutReplicaRegistry.register(ROLLOUT_NAME, _load)


def register_adapter(base: ModuleType) -> None:
    """``verl.workers.rollout.base``: weights reach our server through the stock vLLM adapter."""
    base._ROLLOUT_REGISTRY[(ROLLOUT_NAME, "async")] = base._ROLLOUT_REGISTRY[("vllm", "async")]


def _load() -> type:
    from verl_softthink.rollout.server import SoftVLLMReplica

    return SoftVLLMReplica
