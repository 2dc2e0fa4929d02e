"""Every upstream symbol that this package calls, subclasses or replaces: the one table to read before an upgrade.

To add a row: name the module that *defines* the symbol, the symbol ("function", "Class" or "Class.method", the class
being the one whose body defines the method) and what we do with it. ``since`` and ``until`` bound the releases of the
distribution that have it, both inclusive at the precision given ("0.28" covers 0.28.*).
``tests/cpu/test_compat.py`` holds the table against the installed releases.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Symbol:
    """One upstream name and the reason why the package needs it."""

    module: str
    name: str
    why: str
    since: str | None = None
    until: str | None = None

    @property
    def package(self) -> str:
        """Top-level package: "verl" or "vllm"."""
        return self.module.partition(".")[0]


_ENGINE = "verl.workers.engine.fsdp.transformer_impl"
_TRANSFER = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"

SYMBOLS: tuple[Symbol, ...] = (
    # cpu/platform.py
    Symbol("verl.plugin.platform.platform_base", "PlatformBase", "subclassed: the CPU platform"),
    Symbol("verl.plugin.platform.platform_manager", "PlatformRegistry.register", "called: the CPU platform"),
    # cpu/process_group.py
    Symbol("verl.utils.distributed", "initialize_global_process_group_ray", "wrapped on a CPU: plain gloo"),
    Symbol("verl.utils.distributed", "initialize_global_process_group", "replaced on a CPU: plain gloo"),
    # cpu/engine.py
    Symbol("verl.workers.engine.base", "EngineRegistry.register", "called: stock engines for device cpu"),
    Symbol(_ENGINE, "FSDPEngineWithLMHead", "registered for device cpu"),
    Symbol(_ENGINE, "FSDPEngineWithValueHead", "registered for device cpu"),
    Symbol(_ENGINE, "CPUOffloadPolicy", "replaced on a CPU: no pinned memory"),
    Symbol("verl.utils.fsdp_utils", "load_fsdp_model_to_gpu", "replaced on a CPU: nothing to move"),
    # cpu/linear.py
    Symbol(
        "vllm.model_executor.layers.utils",
        "dispatch_cpu_unquantized_gemm",
        "wrapped on a CPU: linear weights stay loadable for weight sync",
    ),
)
