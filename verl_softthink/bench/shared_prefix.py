"""``verl-softthink bench prefix``: what computing shared prefixes once saves in a training pass over trees.

The shape is the method's own (arXiv 2509.26628): each branched response is cut twice, at 20 to 70 % of its length, with
two continuations a cut, so five leaves; every leaf is one row. A micro-batch is one such tree, because a dense tree
mask costs the square of the micro-batch's tokens. Passes alternate, so that both meet the same machine.
"""

import random
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from verl_softthink.bench.training_pass import (
    PROMPT_TOKENS,
    TEMPERATURE,
    Sizes,
    build_engine,
    make_loss,
    precision,
    write_model,
)
from verl_softthink.likelihood.prefix_tree import PrefixTree
from verl_softthink.likelihood.shared_prefix import MODES, SHARED_PREFIX

#: ``sequences`` are branched responses here, ``tokens`` those of a whole leaf; there are no mixtures.
FULL = Sizes(12, 320, 1024, 5, 5, 8192, sequences=4, tokens=512, candidates=0, repeats=3)
QUICK = Sizes(2, 64, 128, 2, 1, 512, sequences=2, tokens=96, candidates=0, repeats=2)
CUTS, CONTINUATIONS = 2, 2
LEAVES = 1 + CUTS * CONTINUATIONS
#: Of the response's length, where the cuts lie.
FIRST, LAST = 0.2, 0.7


def run(sizes: Sizes = FULL) -> dict:
    """Measure ``ratio`` = seconds of ``dedup`` over ``repeat``, and ``token_ratio`` = tokens of repeat over dedup."""
    from verl.utils.device import get_torch_device

    rows = make_rows(sizes)
    with tempfile.TemporaryDirectory() as folder:
        engine = build_engine(write_model(Path(folder), sizes))
    loss = make_loss()
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    processor: dict[str, list[float]] = {mode: [] for mode in MODES}
    with engine.train_mode():
        for repeat in range(sizes.repeats + 1):
            for mode in MODES:
                batch = _batch(rows, mode)
                engine.optimizer_zero_grad()
                get_torch_device().synchronize()
                start = time.perf_counter(), time.process_time()
                engine.forward_backward_batch(batch, loss)
                get_torch_device().synchronize()
                if repeat > 0:  # the first round warms up
                    seconds[mode].append(time.perf_counter() - start[0])
                    processor[mode].append(time.process_time() - start[1])
    trees = [PrefixTree.of(rows[first : first + LEAVES]) for first in range(0, len(rows), LEAVES)]
    all_tokens, distinct = sum(map(len, rows)), sum(map(len, trees))
    prompts = PROMPT_TOKENS * len(rows), PROMPT_TOKENS * len(trees)
    return {
        "bench": "prefix",
        "ratio": _ratio(seconds),
        "processor_ratio": _ratio(processor),
        "token_ratio": all_tokens / distinct,
        "response_token_ratio": (all_tokens - prompts[0]) / (distinct - prompts[1]),
        "raw": {"seconds": seconds, "processor_seconds": processor},
        "settings": asdict(sizes) | {"precision": precision(), "threads": torch.get_num_threads()},
    }


def make_rows(sizes: Sizes) -> list[torch.Tensor]:
    """Prompt and response of every leaf, the leaves of a tree one after another."""
    draw, generator = random.Random(0), torch.Generator().manual_seed(0)

    def tokens(count: int) -> torch.Tensor:
        return torch.randint(sizes.vocabulary, (count,), generator=generator)

    rows = []
    length = sizes.tokens - PROMPT_TOKENS
    for _ in range(sizes.sequences):
        prompt, trunk = tokens(PROMPT_TOKENS), tokens(length)
        rows.append(torch.cat([prompt, trunk]))
        for _ in range(CUTS):
            cut = int(draw.uniform(FIRST, LAST) * length)
            rows += [torch.cat([prompt, trunk[:cut], tokens(length - cut)]) for _ in range(CONTINUATIONS)]
    return rows


def _ratio(seconds: dict[str, list[float]]) -> float:
    return statistics.median(d / r for r, d in zip(*(seconds[mode] for mode in MODES), strict=True))


def _batch(rows: list[torch.Tensor], mode: str):
    from verl.utils import tensordict_utils as tu

    generator = torch.Generator().manual_seed(1)
    responses = [row[PROMPT_TOKENS:] for row in rows]
    ones = [torch.ones_like(response) for response in responses]
    tensors = {
        "input_ids": rows,
        "position_ids": [torch.arange(len(row)) for row in rows],
        "prompts": [row[:PROMPT_TOKENS] for row in rows],
        "responses": responses,
        "response_mask": ones,
        "loss_mask": ones,
        "old_log_probs": [torch.full(response.shape, -9.0) for response in responses],
        "advantages": [torch.randn(len(response), generator=generator) for response in responses],
    }
    plain = {
        "temperature": TEMPERATURE,
        "use_remove_padding": False,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": LEAVES,
        "global_batch_size": len(rows),
        SHARED_PREFIX: mode,
    }
    jagged = {
        name: torch.nested.as_nested_tensor(list(values), layout=torch.jagged) for name, values in tensors.items()
    }
    return tu.get_tensordict(jagged, plain)
