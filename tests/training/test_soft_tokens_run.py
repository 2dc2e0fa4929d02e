"""Soft Tokens through verl's own entry point: real Ray, FSDP 2, vLLM and weight sync, graded reward, policy loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from verl_softthink.pocket import checkpoint_path
from verl_softthink.report.dump import dump_path, read_dump
from verl_softthink.report.entropy_profile import plot_entropy_profiles

pytestmark = pytest.mark.verl

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 420
STEPS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("soft_tokens")
    environment = os.environ | {"METHOD": "soft", "OUT": str(out), "PYTHON": sys.executable, "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [
            *("bash", str(ROOT / "recipes/soft_tokens/run_pocket_cpu.sh")),
            *("data.train_batch_size=4", "actor_rollout_ref.actor.ppo_mini_batch_size=4"),
            # Three micro-batches and a rest: the loss must not notice.
            *("actor_rollout_ref.rollout.n=4", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4"),
            "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
            *("trainer.val_before_train=False", "trainer.test_freq=-1", f"trainer.total_training_steps={STEPS}"),
            *(f"trainer.save_freq={STEPS}", "+softthink.entropy_profile={positions: [0, 5]}"),
        ],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return out, {record["step"]: record["data"] for record in records}


def test_rollout_and_actor_agree_and_every_update_is_on_policy(run):
    _, metrics = run
    assert sorted(metrics) == [1, 2]
    for data in metrics.values():
        assert data["softthink/soft_fraction"] > 0.5
        assert data["softthink/log_prob_gap/mean"] < 1e-3
        # One update a batch: the policy that is differentiated is the one that drew.
        assert data["actor/log_ratio_std"] < 1e-3
        assert data["actor/grad_norm"] > 0
        assert 0 < data["softthink/entropy_profile/5"] < 5
        assert {"softthink/entropy_profile/0", "softthink/entropy_profile/mean"} <= data.keys()


def test_rewards_are_graded(run):
    out, _ = run
    responses, law = read_dump(dump_path(out / "rollouts", 1))
    assert law["name"] == "gaussian" and len(responses) == 16
    assert {response.reward for response in responses} <= {0.0, 10.0, 100.0}
    assert all(len(response.extra["entropy"]) == len(response.response_ids) for response in responses)
    assert plot_entropy_profiles([("soft", out)], out / "profile.png").exists()


def test_the_checkpoint_is_a_model_directory(run):
    out, _ = run
    folder = out / "checkpoints" / f"global_step_{STEPS}" / "actor" / "huggingface"
    trained, before = (load_file(path / "model.safetensors") for path in (folder, checkpoint_path()))
    moved = [name for name in before if not torch.equal(trained[name].float(), before[name])]
    assert trained.keys() == before.keys() and moved
    assert (folder / "tokenizer.json").exists()
