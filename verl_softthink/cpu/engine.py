"""verl's FSDP engines on device "cpu", under FSDP 1 and FSDP 2."""

from types import ModuleType

from torch.distributed.fsdp import CPUOffloadPolicy

BACKENDS = ["fsdp", "fsdp2"]


class UnpinnedOffloadPolicy(CPUOffloadPolicy):
    """FSDP 2's offload policy for a machine that has no accelerator to pin memory for."""

    def __init__(self, pin_memory: bool = False):
        super().__init__(pin_memory=False)


def register(engines: ModuleType) -> None:
    """Register the stock engines of ``verl.workers.engine.fsdp.transformer_impl`` for the CPU."""
    for model_type, engine in (
        ("language_model", engines.FSDPEngineWithLMHead),
        ("value_model", engines.FSDPEngineWithValueHead),
    ):
        engines.EngineRegistry.register(model_type=model_type, backend=BACKENDS, device="cpu")(engine)
    engines.CPUOffloadPolicy = UnpinnedOffloadPolicy
