"""``verl-softthink bench repro``: the cost of process rewards, through verl's FSDP engine.

Over the same responses, alternating: verl's old-log-prob pass, and the same pass with the answer scored after
``SEGMENTS`` + 2 cuts. Then, as published, the plain pass and one row per cut that holds the prefix and the answer.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from verl_softthink.bench.training_pass import (
    PROMPT_TOKENS,
    TEMPERATURE,
    Sizes,
    build_engine,
    make_batch,
    precision,
    write_model,
)
from verl_softthink.methods.repro.cuts import cut_kinds
from verl_softthink.methods.repro.fields import ANSWER, CUTS, KINDS, REQUEST

#: The shape of SmolLM2-135M.
FULL = Sizes(30, 576, 1536, 9, 3, 49152, sequences=1, tokens=2048, candidates=1, repeats=3)
#: A few seconds on one core: shows that it runs, not what it costs.
QUICK = Sizes(2, 128, 256, 2, 1, 2048, sequences=2, tokens=256, candidates=1, repeats=3)
#: k of the paper, and tokens of ``\boxed{123}`` with Qwen's tokenizer.
SEGMENTS, ANSWER_TOKENS = 20, 6
#: Tokens of a segment: about a sentence.
SEGMENT_TOKENS = 24
_SAMPLING_SECONDS = 0.005


def run(sizes: Sizes = FULL, *, tokens: int | None = None, layers: int | None = None, naive: bool = True) -> dict:
    """Time old-log-prob passes with and without process rewards.

    Args:
        sizes: model and batch.
        tokens: of each sequence, prompt included; that of ``sizes`` when None.
        layers: of the model; those of ``sizes`` when None.
        naive: whether to measure the naive passes too.

    Returns:
        ``ratio`` (scored over plain seconds, median of adjacent pairs), ``naive_ratio`` (plain and one row per cut over
        plain, measured once), ``memory_ratio`` (peak while scoring over peak of the plain pass: of the device, or of
        the process on a CPU), medians, raw seconds, settings. Seconds are the clock's on an accelerator, and the
        process's own on a CPU, which other processes share.
    """
    from verl.utils.device import get_device_name

    sizes = replace(sizes, tokens=tokens or sizes.tokens, layers=layers or sizes.layers)
    with tempfile.TemporaryDirectory() as folder:
        longest = replace(sizes, tokens=sizes.tokens + ANSWER_TOKENS)
        engine = build_engine(write_model(Path(folder), longest))
    seconds: dict[str, list[float]] = {"plain": [], "scored": []}
    peaks: dict[str, list[int]] = {"plain": [], "scored": []}
    passes: dict[str, Callable[[], object]] = {
        "plain": lambda: engine.infer_batch(_batch(sizes)),
        "scored": lambda: engine.infer_batch(_with_answers(_batch(sizes), sizes)),
    }
    with engine.eval_mode():
        for repeat in range(sizes.repeats + 1):
            for name, one_pass in passes.items():
                output, taken, peak = _measure(one_pass)
                if repeat > 0:  # The first round warms up.
                    seconds[name].append(taken)
                    peaks[name].append(peak)
        cuts = [row.tolist() for row in output["model_output"][CUTS].unbind()] if naive else []
        prefixes = [batch for row, kept in enumerate(cuts) for batch in _prefix_batches(sizes, row, kept)]
        extra = sum(_measure(partial(engine.infer_batch, batch))[1] for batch in prefixes)
    plain = statistics.median(seconds["plain"])
    return {
        "bench": "repro",
        "ratio": statistics.median(s / p for s, p in zip(seconds["scored"], seconds["plain"], strict=True)),
        "memory_ratio": statistics.median(peaks["scored"]) / statistics.median(peaks["plain"]),
        "plain_seconds": plain,
        "scored_seconds": statistics.median(seconds["scored"]),
        **({"naive_ratio": (plain + extra) / plain, "naive_seconds": plain + extra} if naive else {}),
        "raw": seconds,
        "settings": asdict(sizes)
        | {"segments": SEGMENTS, "answer_tokens": ANSWER_TOKENS, "segment_tokens": SEGMENT_TOKENS}
        | {"prompt_tokens": PROMPT_TOKENS, "device": get_device_name(), "precision": precision()}
        | {"threads": torch.get_num_threads(), "temperature": TEMPERATURE},
    }


def _batch(sizes: Sizes):
    from verl.utils import tensordict_utils as tu

    batch = make_batch(sizes, None)
    tu.assign_non_tensor(batch, calculate_entropy=True)
    return batch


def _with_answers(batch, sizes: Sizes):
    """The batch as RePro prepares it."""
    from verl.utils import tensordict_utils as tu

    response = sizes.tokens - PROMPT_TOKENS
    starts = torch.arange(SEGMENT_TOKENS, response, SEGMENT_TOKENS)
    for name, row in ((KINDS, cut_kinds(starts, response, response)), (ANSWER, torch.arange(ANSWER_TOKENS))):
        batch[name] = torch.nested.as_nested_tensor([row] * sizes.sequences, layout=torch.jagged)
    tu.assign_non_tensor(batch, **{REQUEST: {"segments": SEGMENTS, "lead_in": []}})
    return batch


def _prefix_batches(sizes: Sizes, row: int, cuts: list[int]) -> list:
    """One batch per cut of a response: its prefix with the answer behind it."""
    from verl.utils import tensordict_utils as tu

    sequence = make_batch(sizes, None)["input_ids"].unbind()[row]
    batches = []
    for cut in cuts:
        ids = torch.cat((sequence[: PROMPT_TOKENS + cut], torch.arange(ANSWER_TOKENS)))
        tensors = {
            "input_ids": ids,
            "position_ids": torch.arange(len(ids)),
            "responses": ids[PROMPT_TOKENS:],
            "response_mask": torch.ones(len(ids) - PROMPT_TOKENS, dtype=torch.int64),
            "loss_mask": torch.ones(len(ids) - PROMPT_TOKENS, dtype=torch.int64),
        }
        plain = {
            "temperature": TEMPERATURE,
            "use_remove_padding": False,
            "use_dynamic_bsz": False,
            "micro_batch_size_per_gpu": 1,
            "global_batch_size": 1,
        }
        jagged = {name: torch.nested.as_nested_tensor([one], layout=torch.jagged) for name, one in tensors.items()}
        batches.append(tu.get_tensordict(jagged, plain))
    return batches


def _measure(one_pass: Callable[[], object]) -> tuple[object, float, int]:
    """Result, seconds and peak memory in bytes."""
    from verl.utils.device import get_torch_device

    device = get_torch_device()
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    device.synchronize()
    with _PeakMemory() as memory:
        start = clock()
        output = one_pass()
        device.synchronize()
        seconds = clock() - start
    return output, seconds, memory.peak


class _PeakMemory:
    """Peak memory inside a block: the accelerator's own count, or the resident set, sampled."""

    def __enter__(self) -> "_PeakMemory":
        self.peak = 0
        self._done = threading.Event()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            self._sampler = threading.Thread(target=self._sample)
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if torch.cuda.is_available():
            self.peak = torch.cuda.max_memory_allocated()
        else:
            self._done.set()
            self._sampler.join()

    def _sample(self) -> None:
        import psutil

        process = psutil.Process()
        while not self._done.wait(_SAMPLING_SECONDS):
            self.peak = max(self.peak, process.memory_info().rss)
