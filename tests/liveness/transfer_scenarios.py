"""Run by test_weight_transfer.py in a process with VERL_PLATFORM=cpu and bounded waits.

It prints one JSON object, scenario to outcome.

Sender and receiver are verl's real classes as this package replaces them, in two threads, over a real ZeroMQ socket
and real shared memory.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from verl.workers.rollout.vllm_rollout import bucketed_weight_transfer as transfer

# Three tensors of 0.75 MiB in buckets of 1 MiB: three buckets, each written over the one before.
WEIGHTS = {f"layer{index}": torch.full((192, 1024), float(index + 1)) for index in range(3)}
BUCKET_MB = 1


def together(calls: dict) -> dict[str, str]:
    """Run calls side by side; how each ended, by name."""
    with ThreadPoolExecutor(len(calls)) as pool:
        running = {name: pool.submit(call) for name, call in calls.items()}
        ended = {name: call.exception() for name, call in running.items()}
    return {name: "done" if error is None else f"{type(error).__name__}: {error}" for name, error in ended.items()}


def exchange(sender, receiver) -> dict[str, str]:
    """Run both sides and return how each ended; None leaves a side out."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{Path(folder, 'weights.sock')}"
        sides = {"sender": sender, "receiver": receiver}
        return together({side: partial(call, address) for side, call in sides.items() if call is not None})


def send(address: str) -> None:
    sender = transfer.BucketedWeightSender(address, bucket_size_mb=BUCKET_MB, use_shm=True)
    asyncio.run(sender.async_send_weights(iter(WEIGHTS.items())))


def receive_into(callback, stock: bool = False):
    def receive(address: str) -> None:
        receiver = transfer.BucketedWeightReceiver(address, device=torch.device("cpu"), use_shm=True)
        if stock:
            # What the CPU platform wraps.
            wrapped = type(receiver).__mro__[1].receive_weights.__wrapped__
            wrapped(receiver, callback)
        else:
            receiver.receive_weights(callback)

    return receive


def two_runs() -> dict[str, list[str]]:
    """What the receivers of two runs with the same verl address got, each from a sender of its own run."""
    received: dict[str, list[str]] = {}

    def sides(run: str, raylet: str, address: str) -> dict:
        os.environ["RAY_RAYLET_PID"] = raylet
        receiver = transfer.BucketedWeightReceiver(address, device=torch.device("cpu"), use_shm=True)
        sender = transfer.BucketedWeightSender(address, bucket_size_mb=BUCKET_MB, use_shm=True)

        def keep(weights, is_last):
            received[run] = [name for name, _ in weights]

        def send_own():
            asyncio.run(sender.async_send_weights(iter([(run, torch.ones(4))])))

        return {f"{run} receiver": lambda: receiver.receive_weights(keep), f"{run} sender": send_own}

    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{Path(folder, 'weights.sock')}"
        calls = sides("first", "101", address) | sides("second", "202", address)
        del os.environ["RAY_RAYLET_PID"]
        together(calls)
    return received


def main() -> dict:
    results = {"classes": [transfer.BucketedWeightSender.__module__, transfer.BucketedWeightReceiver.__module__]}

    kept: dict[str, torch.Tensor] = {}
    results["kept"] = exchange(send, receive_into(lambda weights, is_last: kept.update(weights)))
    results["kept"]["equal"] = {name: bool(torch.equal(kept[name], WEIGHTS[name])) for name in WEIGHTS}

    # What verl's own receiver hands out is overwritten by the next bucket: the reason for the copy.
    aliased: dict[str, torch.Tensor] = {}
    seen: list[bool] = []

    def keep_and_compare(weights, is_last):
        seen.append(all(torch.equal(tensor, WEIGHTS[name]) for name, tensor in aliased.items()))
        aliased.update(weights)

    exchange(send, receive_into(keep_and_compare, stock=True))
    results["stock_aliases"] = not all(seen)

    results["no_receiver"] = exchange(send, None)
    results["no_sender"] = exchange(None, receive_into(lambda weights, is_last: None))

    silence = threading.Event()
    threading.Timer(5 * float(sys.argv[1]), silence.set).start()
    results["silent_receiver"] = exchange(send, receive_into(lambda weights, is_last: silence.wait()))

    results["two_runs"] = two_runs()

    def refuse(weights, is_last):
        raise KeyError("model.layers.7 has no such weight")

    results["failing_receiver"] = exchange(send, receive_into(refuse))
    return results


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
