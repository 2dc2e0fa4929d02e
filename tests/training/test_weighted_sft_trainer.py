"""verl's own SFT trainer on weighted thoughts: loss and gradient of its first step against transformers."""

import json
import os
import random
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.data.parquet import write_rows
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.corpus import CAREFUL, write_response
from verl_softthink.pocket.tasks import generate

pytestmark = pytest.mark.verl

SCALE, ROWS = 64, 8


def test_first_step(tmp_path):
    tokenizer, rng = AutoTokenizer.from_pretrained(checkpoint_path()), random.Random(0)
    rows = [
        {
            "prompt_ids": tokenizer.encode(f"<user>{problem.question}<assistant><think>"),
            "response_ids": tokenizer.encode(write_response(problem, CAREFUL, rng) + tokenizer.eos_token),
            "weight": rng.choice((0.25, 1.0, 1.75)),
        }
        for problem in generate("train", ROWS, seed=0)
    ]
    write_rows(rows, tmp_path / "train.parquet")
    result = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"),
            *("-m", "verl.trainer.sft_trainer", f"data.train_files={tmp_path}/train.parquet"),
            "data.custom_cls.path=pkg://verl_softthink.methods.variational.offline.sft",
            *("data.custom_cls.name=WeightedThoughts", "data.pad_mode=no_padding", f"+data.token_scale={SCALE}"),
            *("data.max_length=128", "data.num_workers=0", f"data.train_batch_size={ROWS}"),
            *("data.micro_batch_size_per_gpu=4", "data.use_dynamic_bsz=False"),
            *(f"model.path={checkpoint_path()}", "model.use_remove_padding=False"),
            *("model.enable_gradient_checkpointing=False", "+model.override_config.attn_implementation=sdpa"),
            *("engine.strategy=fsdp2", "engine.use_torch_compile=False"),
            "+engine.mixed_precision={param_dtype: fp32, reduce_dtype: fp32, buffer_dtype: fp32}",
            *("trainer.device=cpu", "trainer.total_training_steps=1", "trainer.logger=[file]"),
            f"trainer.default_local_dir={tmp_path}/checkpoints",
        ],
        env=os.environ | {"VERL_PLATFORM": "cpu", "VERL_FILE_LOGGER_PATH": str(tmp_path / "metrics.jsonl")},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    found = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])["data"]

    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
    expected = 0.0
    for row in rows:
        prompt, response = torch.tensor(row["prompt_ids"]), torch.tensor(row["response_ids"])
        logits = model(torch.cat((prompt, response))[None]).logits[0, len(prompt) - 1 : -1]
        total = logits.log_softmax(-1).gather(-1, response[:, None]).sum()
        expected = expected - row["weight"] * total / SCALE / ROWS
    expected.backward()
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert found["train/loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert found["train/grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
