"""Weights that vLLM's worker receives on a CPU, as tensors of their own.

verl's receiver moves each tensor of a bucket from shared memory to its device. On a CPU that is a view of the bucket,
which the sender fills again as soon as it is answered and finally unlinks.
"""

import functools
from types import ModuleType

import torch


def register(transfer: ModuleType) -> None:
    """Wrap ``BucketedWeightReceiver.receive_weights``: the callback gets copies."""
    receiver_class = transfer.BucketedWeightReceiver
    stock = receiver_class.receive_weights

    @functools.wraps(stock)
    def receive_copies(self, on_bucket_received) -> None:
        def load(weights: list[tuple[str, torch.Tensor]], is_last: bool) -> None:
            on_bucket_received([(name, tensor.clone()) for name, tensor in weights], is_last)

        stock(self, load)

    receiver_class.receive_weights = receive_copies
