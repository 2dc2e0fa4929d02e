"""Gradients of a checkpoint's policy, by group of parameters, from the likelihood engine of training."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from verl_softthink.bench.training_pass import build_engine
from verl_softthink.likelihood.parameter_groups import parameter_groups

#: Beside the groups of ``likelihood.parameter_groups``.
ALL = "all"


class Policy:
    """A checkpoint in verl's FSDP engine, one process; no optimiser step is taken."""

    def __init__(self, checkpoint: Path):
        self._engine = build_engine(checkpoint)
        self._groups = parameter_groups(self._engine.module)

    def gradients(self, batch: TensorDict, loss: Callable) -> Mapping[str, Tensor]:
        """The gradient of the batch's loss by group, flat, in host memory."""
        with self._engine.train_mode():
            self._engine.optimizer_zero_grad()
            self._engine.forward_backward_batch(batch, loss)
            return {
                name: torch.cat([_flat(parameter) for parameter in parameters])
                for name, parameters in self._groups.items()
            }


def _flat(parameter: nn.Parameter) -> Tensor:
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros(parameter.numel())
    return (gradient.full_tensor() if isinstance(gradient, DTensor) else gradient).detach().flatten().cpu().clone()
