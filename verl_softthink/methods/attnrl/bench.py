"""``verl-softthink bench fci``: what forward context influence adds to a forward pass.

Three forward passes over the same tokens: plain, with the influence of every step, and eager with
``output_attentions=True``, from which the influence could be read off. Passes alternate, so that the machine's state
affects all alike; peak memory is measured in a fresh process each, because an allocator keeps what it once had.
"""

import contextlib
import multiprocessing
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

KINDS = ("plain", "fci", "eager")


@dataclass(frozen=True)
class Shape:
    """A Llama-style model with random weights and one sequence of equally long steps."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tokens: int
    prompt_tokens: int = 128
    step_tokens: int = 32


#: SmolLM2-135M at 2k tokens, the pocket reasoner at 8k, and one that only shows that the benchmark runs.
SHAPES = {
    "smollm2": Shape(30, 576, 1536, 9, 3, 49152, tokens=2048),
    "pocket": Shape(4, 128, 512, 4, 4, 103, tokens=8192),
    "quick": Shape(2, 256, 512, 4, 2, 4096, tokens=1024),
}
#: Its own memory is negligible.
_WARM_UP = Shape(1, 64, 128, 2, 1, 64, tokens=256)


def run(shape: str = "smollm2", repeats: int = 5) -> dict:
    """Measure time and memory with influence over plain (``ratio``, ``memory_ratio``), and those of eager attention.

    Args:
        shape: one of ``SHAPES``.
        repeats: timed passes of each kind; only one of eager attention, which may need gigabytes.
    """
    sizes = SHAPES[shape]
    model, ids = _model(sizes, "sdpa"), _tokens(sizes)
    wall: dict[str, list[float]] = {kind: [] for kind in KINDS}
    processor: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for repeat in range(repeats + 1):
        for kind in ("plain", "fci"):
            seconds = _timed(kind, model, ids, sizes)
            if repeat > 0:  # the first round warms up
                wall[kind].append(seconds[0])
                processor[kind].append(seconds[1])
    eager = _model(sizes, "eager")
    _timed("plain", eager, ids[:, : sizes.prompt_tokens], sizes)
    wall["eager"], processor["eager"] = ([seconds] for seconds in _timed("eager", eager, ids, sizes))
    memory = {kind: _in_new_process(kind, shape) for kind in KINDS}
    return {
        "bench": "fci",
        "ratio": _ratio(wall),
        "memory_ratio": memory["fci"] / memory["plain"],
        "processor_ratio": _ratio(processor),
        "eager_ratio": wall["eager"][0] / statistics.median(wall["plain"]),
        "eager_memory_ratio": memory["eager"] / memory["plain"],
        "plain_seconds": statistics.median(wall["plain"]),
        "fci_seconds": statistics.median(wall["fci"]),
        "plain_megabytes": memory["plain"] / 1e6,
        "fci_megabytes": memory["fci"] / 1e6,
        "raw": {"seconds": wall, "processor_seconds": processor, "bytes": memory},
        "settings": {"shape": shape, **asdict(sizes), "repeats": repeats, "threads": torch.get_num_threads()},
    }


def _ratio(seconds: dict[str, list[float]]) -> float:
    return statistics.median(f / p for f, p in zip(seconds["fci"], seconds["plain"], strict=True))


def _model(sizes: Shape, implementation: str):
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_value_heads,
        max_position_embeddings=sizes.tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    torch.manual_seed(0)
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return (
        AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=implementation).to(_device()).eval()
    )


def _tokens(sizes: Shape) -> torch.Tensor:
    return torch.randint(sizes.vocabulary, (1, sizes.tokens), generator=torch.Generator().manual_seed(0)).to(_device())


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _forward(kind: str, model, ids: torch.Tensor, sizes: Shape) -> None:
    from verl_softthink.methods.attnrl.influence import ForwardContextInfluence
    from verl_softthink.methods.attnrl.steps import SteppedSequence

    steps, rest = divmod(sizes.tokens - sizes.prompt_tokens, sizes.step_tokens)
    lengths = (sizes.prompt_tokens, *(sizes.step_tokens,) * steps, *((rest,) if rest else ()))
    observed = ForwardContextInfluence(model, [SteppedSequence(0, 0, lengths)]) if kind == "fci" else None
    with torch.no_grad(), observed or contextlib.nullcontext():
        model(ids, output_attentions=kind == "eager")
    if ids.device.type == "cuda":
        torch.cuda.synchronize()


def _timed(kind: str, model, ids: torch.Tensor, sizes: Shape) -> tuple[float, float]:
    """Seconds of wall-clock and of CPU time."""
    start = time.perf_counter(), time.process_time()
    _forward(kind, model, ids, sizes)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def _in_new_process(kind: str, shape: str) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_bytes, (kind, shape, torch.get_num_threads()))


def _peak_bytes(kind: str, shape: str, threads: int) -> int:
    """Peak bytes of weights and forward pass: of the GPU's allocator, or resident memory on a CPU.

    On a CPU a small model runs first, so that the libraries' own memory is allocated, and the growth of the process
    from there to its peak is taken (Linux: VmHWM, after /proc/self/clear_refs has reset it).
    """
    torch.set_num_threads(threads)
    sizes = SHAPES[shape]
    implementation = "eager" if kind == "eager" else "sdpa"
    if _device() == "cuda":
        _forward(kind, _model(sizes, implementation), _tokens(sizes), sizes)
        return torch.cuda.max_memory_allocated()
    _forward(kind, _model(_WARM_UP, implementation), _tokens(_WARM_UP), _WARM_UP)
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    _forward(kind, _model(sizes, implementation), _tokens(sizes), sizes)
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}: peak memory on a CPU is measured on Linux only")
