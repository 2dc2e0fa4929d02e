"""vLLM's V2 model runner without a GPU: its own Triton kernels, run by Triton's interpreter. For tests only.

vLLM's CPU build ships the V2 runner (``vllm/v1/worker/cpu/model_runner.py``) for a Triton with a CPU backend, which
PyPI's Triton has not. Import this before vLLM and Triton: it names such a backend for as long as vLLM decides whether
there is one, gives the interpreter the one library function that it lacks, and lets async scheduling be asked for.
"""

import os

import numpy as np

os.environ["TRITON_INTERPRET"] = "1"
os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "1"

import triton.language as tl
from triton.backends import Backend, backends
from triton.language.extra import libdevice
from triton.runtime.interpreter import TensorHandle

from verl_softthink.cpu import distribution

_BACKEND = "cpu"


class _Driver:
    @staticmethod
    def is_active() -> bool:
        return True


def _let_vllm_find_triton() -> None:
    # vLLM asks the distribution "vllm" whether it is a CPU build, and Triton whether it has a CPU backend.
    distribution.register(None)
    backends[_BACKEND] = Backend(compiler=None, driver=_Driver)
    import vllm.triton_utils

    # Nobody may ask the backend for anything: it is only a name.
    del backends[_BACKEND]
    if not vllm.triton_utils.HAS_TRITON:
        raise RuntimeError("vLLM did not find Triton: was vLLM imported before support.v2_on_cpu?")


def _log1p(x):
    """The interpreter has no libdevice, which vLLM's sampler calls for its noise."""
    return tl.tensor(TensorHandle(np.log1p(x.handle.data), x.handle.dtype), x.type)


def _keep_async_scheduling() -> None:
    """vLLM's CPU platform turns async scheduling off, for it saves nothing there; here it is what is tested."""
    from vllm.platforms.cpu import CpuPlatform

    stock = CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls, vllm_config):
        wanted = vllm_config.scheduler_config.async_scheduling
        stock(cls, vllm_config)
        vllm_config.scheduler_config.async_scheduling = wanted

    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


_let_vllm_find_triton()
libdevice.log1p = _log1p
_keep_async_scheduling()
