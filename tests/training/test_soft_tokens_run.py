"""Soft Tokens through verl's own entry point: real Ray, FSDP 2, vLLM and weight sync, graded reward, policy loss.

Beside it a method from a package outside the repository, found by its entry point in every process of the run.
"""

import os
import shutil

import pytest
import torch
from doctor.broken_installs import write_distribution
from safetensors.torch import load_file
from support.runs import ROOT, run_recipe, small_batch

from verl_softthink.dump import dump_path, read_dump
from verl_softthink.methods.registry import GROUP
from verl_softthink.pocket import checkpoint_path
from verl_softthink.report.entropy_profile import plot_entropy_profiles

pytestmark = pytest.mark.verl

STEPS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    package = tmp_path_factory.mktemp("package")
    write_distribution(package, "their-methods", "1.0", entry_points=f"[{GROUP}]\nbrevity = brevity:METHOD\n")
    shutil.copy(ROOT / "examples" / "09_your_own_method.py", package / "brevity.py")
    return run_recipe(
        "soft_tokens/run_pocket_cpu.sh",
        tmp_path_factory.mktemp("soft_tokens"),
        # Several micro-batches: the loss must not notice.
        *small_batch(prompts=4, responses=4, micro_batch=4),
        *("trainer.val_before_train=False", "trainer.test_freq=-1", f"trainer.total_training_steps={STEPS}"),
        *(f"trainer.save_freq={STEPS}", "+softthink.entropy_profile={positions: [0, 5]}"),
        "+softthink.brevity.weight=0.2",
        METHOD="soft",
        PYTHONPATH=os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")])),
    )


def test_rollout_and_actor_agree_and_every_update_is_on_policy(run):
    assert sorted(run.metrics) == [1, 2]
    for data in run.metrics.values():
        assert data["softthink/soft_fraction"] > 0.5
        assert data["softthink/log_prob_gap/mean"] < 1e-3
        # One update a batch: the policy that is differentiated is the one that drew.
        assert data["actor/log_ratio_std"] < 1e-3
        assert data["actor/grad_norm"] > 0
        assert 0 < data["softthink/entropy_profile/5"] < 5
        assert {"softthink/entropy_profile/0", "softthink/entropy_profile/mean"} <= data.keys()


def test_a_stage_from_outside_runs_in_every_step(run):
    assert all(data["softthink/brevity/bonus"] > 0 for data in run.metrics.values())


def test_rewards_are_graded(run):
    responses, law = read_dump(dump_path(run.out / "rollouts", 1))
    assert law["name"] == "gaussian" and len(responses) == 16
    assert {response.reward for response in responses} <= {0.0, 10.0, 100.0}
    assert all(len(response.extra["entropy"]) == len(response.response_ids) for response in responses)
    assert plot_entropy_profiles([("soft", run.out)], run.out / "profile.png").exists()


def test_the_checkpoint_is_a_model_directory(run):
    folder = run.out / "checkpoints" / f"global_step_{STEPS}" / "actor" / "huggingface"
    trained, before = (load_file(path / "model.safetensors") for path in (folder, checkpoint_path()))
    moved = [name for name in before if not torch.equal(trained[name].float(), before[name])]
    assert trained.keys() == before.keys() and moved
    assert (folder / "tokenizer.json").exists()
