"""The platform "cpu" for verl: ``VERL_PLATFORM=cpu``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from verl.plugin.platform.platform_base import PlatformBase

from verl_softthink.cpu.device_module import CPUDeviceModule

DEVICE = "cpu"


class PlatformCPU(PlatformBase):
    """One process per "device", tensors in main memory, gloo between processes.

    Ray places workers by counting GPUs, so a CPU run declares as many logical GPU slots as it wants workers
    (``ray_kwargs.ray_init.num_gpus``) and this platform asks for those.
    """

    device_name = DEVICE
    vendor_name = DEVICE
    device_module = CPUDeviceModule()

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Only on request: every machine has a CPU, so auto-detection must not prefer it."""
        return os.environ.get("VERL_PLATFORM", "").strip().lower() == DEVICE

    def current_device(self) -> str:
        """verl passes this to ``Tensor.to``, for which an index would mean an accelerator."""
        return DEVICE

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        """There is one device."""

    def synchronize(self, device_index: int | None = None) -> None:
        """CPU operations are synchronous."""

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """No caching allocator."""

    def empty_cache(self) -> None:
        """No caching allocator."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Ray sets it for the logical GPU slots; no device reads it."""
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        """No device profiler."""

    def profiler_stop(self) -> None:
        """No device profiler."""

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        """Weights go to vLLM through POSIX shared memory."""
        return False

    def cudart(self) -> None:
        return None


def register(platform_manager: ModuleType) -> None:
    """Register with ``verl.plugin.platform.platform_manager``."""
    platform_manager.PlatformRegistry.register(platform=DEVICE)(PlatformCPU)
