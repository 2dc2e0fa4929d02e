"""Gradient norm of each group of parameters in every update on traces, before clipping.

verl logs and clips one norm over all parameters. Where one group has nearly all of it, as the embedding table under a
law that draws embeddings, that number says nothing of the others.
"""

from collections.abc import Callable

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.likelihood.fields import SETTINGS
from verl_softthink.likelihood.parameter_groups import METRICS, parameter_groups


def group_norms(module: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each group of a model's parameters, whole or sharded by FSDP 2."""
    norms = {}
    for name, parameters in parameter_groups(module).items():
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            norms[name] = float(_whole(torch.nn.utils.get_total_norm(gradients)))
    return norms


class GradientNorms:
    """A mixin in front of verl's FSDP engine; under FSDP 1, whose shards cut across parameters, it adds nothing."""

    _norms: dict[str, float] = {}

    def optimizer_step(self) -> Tensor:
        self._norms = group_norms(self.module) if isinstance(self.module, FSDPModule) else {}
        return super().optimizer_step()

    def train_batch(self, data: TensorDict, loss_function: Callable) -> dict:
        outputs = super().train_batch(data, loss_function)
        traced = get_non_tensor_data(data, SETTINGS, default=None) is not None
        if traced and self.is_mp_src_rank_with_outputs():
            # A list, as of micro-batches: verl joins those of all ranks.
            outputs["metrics"] |= {METRICS[group]: [norm] for group, norm in self._norms.items()}
        return outputs


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
