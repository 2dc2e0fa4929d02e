"""``verl-softthink bench likelihood``: what soft traces cost in training, through verl's FSDP engine.

Forward and backward of the same tokens with the same model and the same PPO loss. In the soft pass every response
position is a mixture that is fed and scored; in the discrete one the batch has no trace, and verl computes it alone.
The passes alternate, so that both meet the same machine.
"""

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
    make_batch,
    make_loss,
    precision,
    write_model,
)
from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import DEFAULT

#: The shape of SmolLM2-135M.
FULL = Sizes(30, 576, 1536, 9, 3, 49152, sequences=4, tokens=256, candidates=5, repeats=5)
#: A few seconds on one core; says whether it runs, not what it costs.
QUICK = Sizes(2, 128, 256, 2, 1, 2048, sequences=2, tokens=64, candidates=5, repeats=3)


def run(sizes: Sizes = FULL, *, law: str = DEFAULT, normalise_over: str | None = None) -> dict:
    """Time training passes over soft and over discrete tokens.

    Args:
        sizes: model and batch.
        law: law of the soft positions.
        normalise_over: "candidates" or "vocabulary"; the law's own default when None.

    Returns:
        ``ratio`` (soft seconds / discrete seconds, median over adjacent pairs), medians and raw seconds, settings.
    """
    from verl.utils.device import get_device_name, get_torch_device

    drawn_by = LawSettings(name=law, normalise_over=normalise_over)
    scoring = drawn_by.scoring() | {"temperature": TEMPERATURE, "detach_inputs": False}
    with tempfile.TemporaryDirectory() as folder:
        engine = build_engine(write_model(Path(folder), sizes))
    batches = {"discrete": make_batch(sizes, None), "soft": make_batch(sizes, scoring)}
    seconds: dict[str, list[float]] = {name: [] for name in batches}
    loss = make_loss()
    with engine.train_mode():
        for repeat in range(sizes.repeats + 1):
            for name, batch in batches.items():
                engine.optimizer_zero_grad()
                get_torch_device().synchronize()
                start = time.perf_counter()
                engine.forward_backward_batch(batch, loss)
                get_torch_device().synchronize()
                if repeat > 0:  # the first round warms up
                    seconds[name].append(time.perf_counter() - start)
    return {
        "bench": "likelihood",
        "ratio": statistics.median(s / d for s, d in zip(seconds["soft"], seconds["discrete"], strict=True)),
        "soft_seconds": statistics.median(seconds["soft"]),
        "discrete_seconds": statistics.median(seconds["discrete"]),
        "raw": seconds,
        "settings": asdict(sizes)
        | {"prompt_tokens": PROMPT_TOKENS, "device": get_device_name(), "precision": precision()}
        | {"threads": torch.get_num_threads()}
        | scoring,
    }
