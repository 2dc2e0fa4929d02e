"""verl's bucketed weight transfer with bounded waits and reported failures.

verl sends weights from the trainer to vLLM's worker in buckets over a ZeroMQ request/reply socket, both sides waiting
without limit. Here every wait ends after VERL_SOFTTHINK_TRANSFER_TIMEOUT_S, and a receiver that fails to load a bucket
answers with its error, so that the sender fails at once and says why.

verl's address holds Ray's job id, which is 01000000 in every Ray that a run starts for itself: two runs on one machine
would meet on one socket and train on each other's weights. Here the address also holds the process id of the node's
raylet, which both sides inherit and no other run shares.
"""

import os
from types import ModuleType, TracebackType

import torch
import zmq
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver, BucketedWeightSender

from verl_softthink.liveness import limits

_MILLISECONDS = 1000
#: Set by Ray in its workers and inherited by vLLM's.
_RAYLET = "RAY_RAYLET_PID"
_IPC = "ipc://"


class WeightTransferError(RuntimeError):
    """The other side of a weight transfer failed or did not answer in time."""


class BoundedWeightSender(BucketedWeightSender):
    """The trainer's side; arguments are those of verl's sender."""

    def __init__(self, zmq_handle: str, *args, **kwargs):
        super().__init__(private(zmq_handle), *args, **kwargs)
        self.zmq_context = _BoundedSockets(self.zmq_context)

    async def async_send_weights(self, weights) -> None:
        """Send (name, tensor) pairs.

        Raises:
            WeightTransferError: vLLM's worker did not answer in time or could not load a bucket.
        """
        try:
            await super().async_send_weights(weights)
        except zmq.Again as error:
            raise WeightTransferError(_silence("vLLM's worker", "the trainer")) from error


class BoundedWeightReceiver(BucketedWeightReceiver):
    """vLLM's side; arguments are those of verl's receiver."""

    def __init__(self, zmq_handle: str, *args, **kwargs):
        super().__init__(private(zmq_handle), *args, **kwargs)
        self.zmq_context = _BoundedSockets(self.zmq_context)

    def receive_weights(self, on_bucket_received) -> None:
        """Call ``on_bucket_received([(name, tensor), ...], is_last)`` for every bucket.

        Raises:
            WeightTransferError: the trainer sent nothing in time.
        """

        def load(weights: list[tuple[str, torch.Tensor]], is_last: bool) -> None:
            with _Report(self.socket):
                on_bucket_received(weights, is_last)

        try:
            super().receive_weights(load)
        except zmq.Again as error:
            raise WeightTransferError(_silence("the trainer", "vLLM's worker")) from error


class _BoundedSockets:
    """A ZeroMQ context whose sockets wait for VERL_SOFTTHINK_TRANSFER_TIMEOUT_S at most and read answers."""

    def __init__(self, context: zmq.Context):
        self._context = context

    def socket(self, kind: int) -> "zmq.Socket | _AnswerChecked":
        socket = self._context.socket(kind)
        timeout = round(limits.transfer_timeout_s() * _MILLISECONDS)
        for option in (zmq.RCVTIMEO, zmq.SNDTIMEO, zmq.LINGER):
            socket.setsockopt(option, timeout)
        return _AnswerChecked(socket) if kind == zmq.REQ else socket


class _AnswerChecked:
    """A request socket on which any answer but the empty one is the receiver's error."""

    def __init__(self, socket: zmq.Socket):
        self._socket = socket

    def __getattr__(self, name: str):
        return getattr(self._socket, name)

    def recv(self) -> bytes:
        answer = self._socket.recv()
        if answer:
            raise WeightTransferError(f"vLLM's worker could not load the weights: {answer.decode()}")
        return answer


class _Report:
    """Answer the pending request with the error of the block, if there is one."""

    def __init__(self, socket: zmq.Socket):
        self._socket = socket

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if error is not None:
            self._socket.send(f"{kind.__name__}: {error}".encode())


def private(zmq_handle: str) -> str:
    """The address of this Ray node alone; as it is when there is no Ray, or when it is no path on this machine."""
    raylet = os.environ.get(_RAYLET)
    if raylet is None or not zmq_handle.startswith(_IPC):
        return zmq_handle
    return f"{zmq_handle}.raylet-{raylet}"


def _silence(absent: str, waiting: str) -> str:
    return (
        f"weight transfer: {waiting} waited {limits.transfer_timeout_s():g} s ({limits.TRANSFER}) for {absent}, "
        f"which is dead, hung or slower than that; its log says which."
    )


def register(transfer: ModuleType) -> None:
    """Replace both classes of ``verl.workers.rollout.vllm_rollout.bucketed_weight_transfer``."""
    transfer.BucketedWeightSender = BoundedWeightSender
    transfer.BucketedWeightReceiver = BoundedWeightReceiver
