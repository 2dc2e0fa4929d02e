"""One sound file of every kind that a command reads, small and made by the package itself where it writes the kind."""

import json
import shutil
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from verl_softthink.data.parquet import write_rows
from verl_softthink.dump import DumpedResponse, write_dump
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE
from verl_softthink.methods.repro.fields import PIECE, REWARD
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.tasks import generate
from verl_softthink.report.entropy_profile import ENTROPY
from verl_softthink.trace import SoftTrace

LAW = {"name": "gumbel", "tau": 0.5, "noise_scale": 1.0, "normalise_over": None}
ACCURACY = "val-core/toy/acc/mean@1"
SETTINGS = """\
hint: {source: answer, template: "{question}+{hint}"}
reward: pkg://verl_softthink.pocket.reward
thoughts: 2
answers: 2
max_thought_tokens: 4
max_answer_tokens: 2
shard: 2
"""
GSM8K = [{"question": f"What is {n} + {n}?", "answer": f"<<{n}+{n}={2 * n}>>\n#### {2 * n}"} for n in range(4)]
#: The chain of thought of ``verl-softthink chain``.
CHAIN = "7+8=5;5*3=5;5+0=5;</think>5"


def response(number: int, length: int = 9) -> DumpedResponse:
    """A soft response with the fields of every method."""
    generator = torch.Generator().manual_seed(number)
    position = torch.arange(length)
    soft = position < length - 3
    ids = torch.randint(8, 40, (length, 3), generator=generator).int()
    trace = SoftTrace(
        soft=soft,
        drawn=position < length - 2,
        forced=torch.zeros(length, dtype=torch.bool),
        discrete=torch.zeros(length, dtype=torch.bool),
        ids=ids.where((position < length - 2)[:, None], -1),
        values=torch.randn(length, 3, generator=generator),
        log_prob=-torch.rand(length, generator=generator),
        entropy=torch.rand(length, generator=generator),
        end_reason="marker",
    )
    extra = {
        ENTROPY: torch.rand(length, generator=generator),
        NODE: (position > 4).float() * (1 + number),
        VALUE: torch.full((length,), 0.5),
        ADVANTAGE: torch.full((length,), -0.25),
        ROOT: torch.tensor([0.5, 2.0, 0.0]),
        PIECE: (position // 3).float(),
        REWARD: torch.full((length,), 0.125),
    }
    ids = torch.randint(8, 40, (length,), generator=generator).int()
    prompt = torch.tensor([7, 20 + number // 2, 9])
    return DumpedResponse(f"p{number // 2}_{number % 2}_0", prompt, ids, trace, number / 4, "4", extra)


def make(folder: Path) -> Path:
    """Write all of them into a folder, and return it."""
    write_dump([response(number) for number in range(4)], LAW, folder / "run" / "rollouts" / "traces-3.safetensors")
    write_dump([response(number) for number in range(4)], LAW, folder / "traces-2.safetensors")
    steps = [_step(step) for step in range(1, 5)]
    (folder / "run" / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (folder / "train.log").write_text("starting\nended\n")
    with SummaryWriter(str(folder / "events")) as writer:
        for step in steps:
            for name, value in step["data"].items():
                writer.add_scalar(name, value, step["step"])
    curve = {"k": [1, 2, 4], "mean": [0.5, 0.7, 0.8], "low": [0.4, 0.6, 0.8], "high": [0.6, 0.75, 0.9]}
    (folder / "eval.json").write_text(
        json.dumps({"modes": {"soft": {"pass_at_k": curve}, "hard": {"pass_at_k": curve}}})
    )
    (folder / "gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GSM8K))
    (folder / "gsm8k.json").write_text(json.dumps(GSM8K))
    write_rows(GSM8K, folder / "gsm8k.parquet")
    write_parquet(generate("train", 4, seed=0), folder / "questions.parquet")
    write_parquet(generate("train", 4, seed=0), folder / "problems.parquet")
    (folder / "questions.jsonl").write_text("".join(json.dumps(_question(n)) + "\n" for n in range(3)))
    (folder / "stratos.jsonl").write_text("".join(json.dumps(_stratos(n)) + "\n" for n in range(3)))
    (folder / "settings.yaml").write_text(SETTINGS)
    (folder / "chain.txt").write_text(CHAIN)
    shutil.copytree(checkpoint_path(), folder / "model")
    return folder


def _step(step: int) -> dict:
    data = {
        "critic/score/mean": 0.1 * step,
        ACCURACY: 0.2 * step,
        "timing_s/step": 1.5,
        "perf/total_num_tokens": 640,
        "prompt_length/mean": 8.0,
        "response_length/mean": 24.0,
        "softthink/soft_fraction": 0.75,
    }
    return {"step": step, "data": data}


def _question(number: int) -> dict:
    return {
        "data_source": "toy",
        "prompt": [{"role": "user", "content": f"{number}+1"}],
        "reward_model": {"style": "rule", "ground_truth": str(number + 1)},
        "extra_info": {"index": number, "solution": "one more"},
    }


def _stratos(number: int) -> dict:
    reply = (
        f"<|begin_of_thought|>one more<|end_of_thought|><|begin_of_solution|>\\boxed{{{number + 1}}}<|end_of_solution|>"
    )
    return {
        "system": "think",
        "conversations": [{"from": "user", "value": f"{number}+1"}, {"from": "assistant", "value": reply}],
    }
