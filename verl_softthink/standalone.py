"""One process started by hand (bench, doctor, example) rather than by a recipe: platform, and a vLLM engine.

A recipe carries what a CPU needs in its YAML file; a command has no configuration, so it is decided here.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from verl_softthink.errors import about_file

if TYPE_CHECKING:
    from vllm import LLM

_PLATFORM = "VERL_PLATFORM"
#: KV cache of an engine on a CPU: 256 MiB, where vLLM would take 92 % of the machine's memory, or refuse to start.
_CPU_KV_CACHE_BYTES = 256 * 2**20
#: What an engine's processes get for an orderly end; a loaded machine needs more than five.
_SHUTDOWN_SECONDS = 60.0
#: For vLLM and verl on a CPU, unless the user has decided otherwise: no pinning to cores that others use, and no
#: compilation of small helpers, which takes minutes and a C++ compiler.
_CPU_ENVIRONMENT = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCHDYNAMO_DISABLE": "1"}


def has_accelerator() -> bool:
    """Whether torch sees a GPU or another accelerator."""
    import torch

    return torch.accelerator.is_available()


def choose_platform() -> None:
    """Set VERL_PLATFORM=cpu where there is no accelerator and the user has not chosen a platform.

    Raises:
        RuntimeError: verl is imported already and has chosen for itself.
    """
    if _PLATFORM not in os.environ and not has_accelerator():
        if "verl" in sys.modules:
            raise RuntimeError(
                f"torch finds no accelerator and {_PLATFORM} is not set: set {_PLATFORM}=cpu before verl is imported"
            )
        os.environ[_PLATFORM] = "cpu"
    if not has_accelerator():
        for name, value in _CPU_ENVIRONMENT.items():
            os.environ.setdefault(name, value)


@contextmanager
def vllm_engine(model: Path | str, **arguments: object) -> Iterator["LLM"]:
    """A vLLM engine whose processes are shut down in order at the end of the block.

    Args:
        model: checkpoint.
        arguments: of ``vllm.LLM``; what a CPU needs is filled in.

    Raises:
        FileError: vLLM does not start with the checkpoint.
    """
    from vllm import LLM

    if not has_accelerator():
        arguments = {
            "dtype": "float32",
            "enforce_eager": True,
            "kv_cache_memory_bytes": _CPU_KV_CACHE_BYTES,
        } | arguments
    with about_file(model, RuntimeError, ValueError, advice="vLLM does not start with it; the log above says more"):
        llm = LLM(str(model), **arguments)
    try:
        yield llm
    finally:
        # Left to the interpreter's exit, or to vLLM's own five seconds, the engine's processes would be killed.
        llm.llm_engine.engine_core.shutdown(timeout=_SHUTDOWN_SECONDS)
