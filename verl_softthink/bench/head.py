"""``verl-softthink bench head``: memory and time of a training pass that takes the output head in pieces.

Forward and backward of the same soft tokens, once with the logits of the whole micro-batch, as verl holds them, and
once a few positions at a time (``softthink.likelihood.positions_at_once``).
"""

import ctypes
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from verl_softthink.bench.training_pass import (
    PROMPT_TOKENS,
    TEMPERATURE,
    Sizes,
    build_engine,
    make_batch,
    make_loss,
    precision,
    write_model,
)
from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import DEFAULT

#: The shape of SmolLM2-135M, few layers: what differs is the head.
FULL = Sizes(4, 576, 1536, 9, 3, 49152, sequences=4, tokens=512, candidates=5, repeats=3)
#: A few seconds on one core.
QUICK = Sizes(1, 64, 128, 2, 1, 16384, sequences=2, tokens=256, candidates=5, repeats=1)
POSITIONS_AT_ONCE = 128


def run(sizes: Sizes = FULL, *, law: str = DEFAULT, at_once: int = POSITIONS_AT_ONCE) -> dict:
    """Measure both ways, alternating.

    Args:
        sizes: model and batch.
        law: law of the soft positions.
        at_once: positions of a piece.

    Returns:
        ``memory_ratio`` (peak above what is held between passes, pieces over whole), ``ratio`` of the seconds,
        medians, settings.
    """
    from verl.utils.device import get_device_name, get_torch_device

    scoring = LawSettings(name=law).scoring() | {"temperature": TEMPERATURE, "detach_inputs": False}
    with tempfile.TemporaryDirectory() as folder:
        engine = build_engine(write_model(Path(folder), sizes))
    batches = {
        "whole": make_batch(sizes, scoring),
        "pieces": make_batch(sizes, scoring | {"positions_at_once": at_once}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in batches}
    peaks: dict[str, list[int]] = {name: [] for name in batches}
    loss = make_loss()
    with engine.train_mode():
        for repeat in range(sizes.repeats + 1):
            for name, batch in batches.items():
                engine.optimizer_zero_grad()
                get_torch_device().synchronize()
                start = time.perf_counter()
                peak = peak_bytes(lambda batch=batch: engine.forward_backward_batch(batch, loss))
                get_torch_device().synchronize()
                if repeat > 0:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
                    peaks[name].append(peak)
    medians = {name: statistics.median(values) for name, values in peaks.items()}
    return {
        "bench": "head",
        "memory_ratio": medians["pieces"] / medians["whole"],
        "ratio": statistics.median(p / w for p, w in zip(seconds["pieces"], seconds["whole"], strict=True)),
        "whole_gib": medians["whole"] / 2**30,
        "pieces_gib": medians["pieces"] / 2**30,
        "whole_seconds": statistics.median(seconds["whole"]),
        "pieces_seconds": statistics.median(seconds["pieces"]),
        "raw": {"seconds": seconds, "peak_bytes": peaks},
        "settings": asdict(sizes)
        | {"prompt_tokens": PROMPT_TOKENS, "device": get_device_name(), "precision": precision()}
        | {"positions_at_once": at_once}
        | scoring,
    }


def peak_bytes(work: Callable[[], object]) -> int:
    """Peak memory of ``work`` above what was held before: of the GPU's allocator, or resident memory of the process."""
    import torch

    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    # What is free inside the process would hide what the work allocates.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    # Linux: 5 resets the high-water mark of the resident set (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    """Bytes of a line of /proc/self/status, which counts in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}: memory can be measured on Linux only")
