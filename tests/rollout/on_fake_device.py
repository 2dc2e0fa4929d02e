"""Soft steps of a vLLM model runner on an accelerator that does not exist; ``test_fake_device.py`` runs it.

The tensors are torch's fake ones: they have a device, a shape and a dtype, and no memory. Whatever a real accelerator
would refuse or wait for is an error here: tensors of two devices in one operation, a value read back (``item``,
``nonzero``, a boolean index), a tensor made from host data, a copy that blocks. What remains unseen is what the numbers
are, and the order of streams. The device is called "gpu", for this build of torch may not know "cuda".
"""

import contextlib
import json
import os
import sys
import tempfile
from types import SimpleNamespace

# Read by vLLM when it is imported.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"

import numpy as np
import torch
from test_step_on_device import HIDDEN, LENGTH, REQUESTS, VOCABULARY, WIDTH, text_table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.v1.outputs import AsyncModelRunnerOutput, LogprobsTensors, SamplerOutput

from verl_softthink.laws import LAWS
from verl_softthink.rollout.vllm import embedding as embeddings
from verl_softthink.rollout.vllm.embedding import SoftVocabParallelEmbedding
from verl_softthink.rollout.vllm.soft_runner import SoftRunner

DEVICE = "gpu"
SLOTS = 16
#: Prompt tokens of every request.
PROMPT = 4


class FakeDevice(FakeTensorMode):
    """Tensors without memory; constants do not go to the device in earnest."""

    avoid_device_init = True


class Transfers(TorchDispatchMode):
    """Counts copies between host and device, and raises at one for which the host waits."""

    def __init__(self):
        super().__init__()
        self.to_device = self.to_host = 0

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        before = {leaf.device.type for leaf in tree_leaves((args, kwargs)) if _is_array(leaf)}
        after = {leaf.device.type for leaf in tree_leaves(out) if _is_array(leaf)}
        if before | after > {"cpu"} and "cpu" in before | after:
            if not kwargs.get("non_blocking"):
                raise AssertionError(f"{func} waits for the device: {before} to {after}")
            self.to_device += DEVICE in after
            self.to_host += "cpu" in after
        return out


def _is_array(leaf) -> bool:
    # Numbers travel as arguments of a kernel.
    return isinstance(leaf, torch.Tensor) and leaf.dim() > 0


class Output(AsyncModelRunnerOutput):
    """An asynchronous output of the runner, of which nothing is asked."""

    def get_output(self):
        raise NotImplementedError


def soft_runner(config: VllmConfig, requests, ranks: int) -> SoftRunner:
    """A runner with every request admitted; with several ranks, the code of the first without its peers."""
    with set_current_vllm_config(config), torch.device(DEVICE):
        table = SoftVocabParallelEmbedding(VOCABULARY, HIDDEN, params_dtype=torch.bfloat16)
    if ranks == 1:
        # Computed once for every set of weights, and checked on the host.
        table._root_mean_square = torch.ones((), device=DEVICE)
    table.tp_size = ranks
    model = torch.nn.Module()
    model.embed_tokens = table
    settings = SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=LENGTH),
        scheduler_config=SimpleNamespace(max_num_seqs=SLOTS),
        additional_config={"softthink": {"max_candidates": WIDTH, "carries_embeddings": True}},
    )
    runner = SoftRunner(settings, model, torch.device(DEVICE))
    for number, request in enumerate(requests):
        if request.marker_text not in runner.state.markers:
            runner.state.markers.add(request.marker_text, text_table(request.marker_text))
        runner.add(f"r{number}", request.as_dict(), [])
    return runner


def take_step(runner: SoftRunner, requests: int, computed: int, scheduled: int) -> Transfers:
    """One step of ``requests`` soft requests and an ordinary one, as the V1 and V2 runners drive it."""
    count = requests + 1
    with Transfers() as transfers:
        runner.prepare(
            [*(f"r{number}" for number in range(requests)), "ordinary"],
            starts=np.arange(count + 1) * scheduled,
            computed=np.full(count, computed),
            prompts=np.full(count, PROMPT),
            samples=np.ones(count, dtype=bool),
        )
        fed = runner.embedding(torch.zeros(count * scheduled, dtype=torch.int32, device=DEVICE))
        assert fed.dtype == torch.bfloat16
        runner.step(torch.empty(count, VOCABULARY, dtype=torch.bfloat16, device=DEVICE))
        output = SamplerOutput(
            sampled_token_ids=torch.zeros(count, 1, dtype=torch.int32, device=DEVICE),
            logprobs_tensors=LogprobsTensors(
                logprob_token_ids=torch.zeros(count, 2, dtype=torch.int32, device=DEVICE),
                logprobs=torch.zeros(count, 2, device=DEVICE),
                selected_token_ranks=torch.zeros(count, dtype=torch.int32, device=DEVICE),
            ),
        )
        runner.override(output)
        assert output.sampled_token_ids.device.type == DEVICE
        runner.attach(Output(), SimpleNamespace(wait_stream=lambda other: None))
    return transfers


def main() -> None:
    """Every law, phase setting and kind of step, on one rank and as one of two."""
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(DEVICE)
    config, store = VllmConfig(), tempfile.mktemp()
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"file://{store}", 0, "gloo")
        initialize_model_parallel(1, 1)
    # What needs the accelerator's own library.
    torch.Tensor.pin_memory = lambda self: self
    torch.cuda.Event = lambda: SimpleNamespace(record=lambda: None)
    torch.cuda.current_stream = lambda: None
    torch.cuda.stream = lambda stream: contextlib.nullcontext()
    embeddings.tensor_model_parallel_all_reduce = lambda part: part
    with FakeDevice():
        seen = {"refused": controls()}
        for name, requests in REQUESTS.items():
            for ranks in (1, 2) if any(LAWS[one.law].draws_embedding for one in requests) else (1,):
                runner, count = soft_runner(config, requests, ranks), len(requests)
                steps = {
                    "prompt": take_step(runner, count, 0, PROMPT),
                    "decode": take_step(runner, count, PROMPT, 1),
                    "replay": take_step(runner, count, 0, PROMPT + 2),
                }
                seen[f"{name}-{ranks}"] = {kind: (step.to_device, step.to_host) for kind, step in steps.items()}
    # The last line: vLLM writes to the same stream.
    sys.stdout.write("\n" + json.dumps(seen))


def controls() -> list[str]:
    """Which of the mistakes that a real accelerator would punish are errors here."""
    here, host = torch.ones(3, device=DEVICE), torch.from_numpy(np.ones(3))
    mistakes = {
        "item": lambda: here.sum().item(),
        "nonzero": lambda: here.nonzero(),
        "boolean index": lambda: here[here > 0],
        "two devices": lambda: here + host,
        "host index": lambda: here[host.long()],
        "made from host data": lambda: torch.tensor([1.0, 2.0], device=DEVICE),
        "blocking copy to the device": lambda: host.to(DEVICE),
        "blocking copy to the host": lambda: here.cpu(),
    }
    refused = []
    for name, mistake in mistakes.items():
        try:
            with Transfers():
                mistake()
        except (RuntimeError, AssertionError):
            refused.append(name)
    return refused


if __name__ == "__main__":
    main()
