"""``torch.cpu`` with the rest of the interface that verl expects of ``torch.cuda``."""

from types import ModuleType

import psutil
import torch


class CPUDeviceModule(ModuleType):
    """What ``verl.utils.device.get_torch_device()`` returns on a CPU.

    Memory figures, in bytes, are those of the process (resident set and its peak) and of the machine. Calls that
    only make sense on an accelerator (caches, IPC, memory limits) do nothing. All other names are ``torch.cpu``'s.
    """

    def __init__(self):
        super().__init__("torch.cpu")
        self._peak = 0

    def __getattr__(self, name: str):
        return getattr(torch.cpu, name)

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def get_device_name(self, device=None) -> str:
        return "CPU"

    def get_rng_state(self, device=None) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device=None) -> None:
        torch.set_rng_state(state)

    def memory_allocated(self, device=None) -> int:
        resident = psutil.Process().memory_info().rss
        self._peak = max(self._peak, resident)
        return resident

    def max_memory_allocated(self, device=None) -> int:
        """Highest resident set seen by this module since the last reset, this call included."""
        self.memory_allocated()
        return self._peak

    memory_reserved = memory_allocated
    max_memory_reserved = max_memory_allocated

    def mem_get_info(self, device=None) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def reset_peak_memory_stats(self, device=None) -> None:
        self._peak = 0

    def reset_accumulated_memory_stats(self, device=None) -> None:
        """No counters are accumulated."""

    def empty_cache(self) -> None:
        """No caching allocator."""

    def ipc_collect(self) -> None:
        """No inter-process device memory."""

    def set_per_process_memory_fraction(self, fraction: float, device=None) -> None:
        """No allocator to limit."""
