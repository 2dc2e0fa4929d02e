"""Host data on its way to the device, which the host does not wait for."""

import torch
from torch import Tensor

_WITHOUT_TRANSFER = ("cpu", "meta")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on ``device``; from pinned memory, because a copy from ordinary memory waits for the stream."""
    return tensor.to(device) if device.type in _WITHOUT_TRANSFER else tensor.pin_memory().to(device, non_blocking=True)
