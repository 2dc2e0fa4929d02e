"""Whole runs of stock verl on a CPU: plain GRPO, resumed, under both versions of FSDP, and struck by faults.

The policy moves (its KL to the reference is far above rounding), and the rollout's log-probs agree with the actor's
on every step: a weight sync that lost the update would show as a difference of the size of that movement.
"""

import shutil

import pytest
from grpo_run import make_task, run_grpo

pytestmark = pytest.mark.verl

AGREEMENT = "rollout_corr/log_ppl_abs_diff"
KL = "actor/kl_loss"
# fp32 rounding through two implementations of a two-layer model.
ROUNDING = 1e-5
# Seconds; the bounds that the struck runs have to keep.
TRANSFER_TIMEOUT_S = "15"
LONG_ROLLOUT = ("data.max_response_length=900", "actor_rollout_ref.rollout.ignore_eos=True")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpo")
    make_task(folder)
    return folder


@pytest.fixture(scope="module")
def plain_run(task):
    return run_grpo(task, "trainer.total_training_steps=3", "trainer.save_freq=2", "trainer.test_freq=3")


def assert_synchronised(run, *steps):
    for step in steps:
        assert run.metrics[step][AGREEMENT] < ROUNDING, f"step {step}"
    assert run.metrics[steps[-1]][KL] > 100 * ROUNDING, "the policy has not moved: agreement would prove nothing"


def test_plain_grpo_trains_with_fresh_rollout_weights(plain_run):
    assert plain_run.returncode == 0, plain_run.log[-3000:]
    assert sorted(plain_run.metrics) == [1, 2, 3]
    assert_synchronised(plain_run, 1, 2, 3)


def test_plain_grpo_validates_and_saves(plain_run, task):
    assert any(name.startswith("val-core/toy/") for name in plain_run.metrics[3])
    assert (task / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == "3"


def test_run_ends_its_own_ray_and_vllm(plain_run):
    assert plain_run.survivors() == []


def test_resumed_run_goes_on_and_ends_when_the_engine_dies(plain_run, task):
    shutil.rmtree(task / "checkpoints" / "global_step_3")
    (task / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("2")
    run = run_grpo(
        task,
        *("trainer.resume_mode=auto", "trainer.total_training_steps=5", *LONG_ROLLOUT),
        FAULT="4:rollout:VLLM::EngineCore:SIGKILL",
    )
    assert sorted(run.metrics) == [3]
    assert_synchronised(run, 3)
    assert run.returncode == 1
    assert "RolloutLost: vLLM replica 0, node 0 is dead: EngineDeadError" in run.log
    assert run.survivors() == []


def test_fsdp1_trains_and_ends_when_vllm_hangs_in_a_weight_transfer(task):
    run = run_grpo(
        task,
        *("actor_rollout_ref.actor.strategy=fsdp", "actor_rollout_ref.ref.strategy=fsdp"),
        "trainer.total_training_steps=4",
        FAULT="3:sync:VLLM::Worker:SIGSTOP",
        VERL_SOFTTHINK_TRANSFER_TIMEOUT_S=TRANSFER_TIMEOUT_S,
    )
    assert sorted(run.metrics) == [1, 2]
    assert_synchronised(run, 1, 2)
    assert run.returncode == 1
    assert f"waited {TRANSFER_TIMEOUT_S} s (VERL_SOFTTHINK_TRANSFER_TIMEOUT_S) for vLLM's worker" in run.log
    assert run.survivors() == []
