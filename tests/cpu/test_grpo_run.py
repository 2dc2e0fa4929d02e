"""A whole run of stock verl on a CPU: plain GRPO under FSDP 1, validated, saved, and struck by a fault.

The policy moves (its KL to the reference is far above rounding), and the rollout's log-probs agree with the actor's
on every step: a weight sync that lost the update would show as a difference of the size of that movement. FSDP 2, a
resumed run and an engine that dies: tests/training/test_soft_grpo_run.py.
"""

import pytest
from grpo_run import make_task, run_grpo

pytestmark = pytest.mark.verl

AGREEMENT = "rollout_corr/log_ppl_abs_diff"
KL = "actor/kl_loss"
# fp32 rounding through two implementations of a two-layer model.
ROUNDING = 1e-5
# Seconds; the bound that the struck run has to keep.
TRANSFER_TIMEOUT_S = "15"


@pytest.fixture(scope="module")
def struck_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpo")
    make_task(folder)
    return run_grpo(
        folder,
        *("actor_rollout_ref.actor.strategy=fsdp", "actor_rollout_ref.ref.strategy=fsdp"),
        *("trainer.total_training_steps=4", "trainer.save_freq=2", "trainer.test_freq=2"),
        fault="3:sync:VLLM::EngineCore:SIGSTOP",
        VERL_SOFTTHINK_BOUNDED_WAITS="1",
        VERL_SOFTTHINK_TRANSFER_TIMEOUT_S=TRANSFER_TIMEOUT_S,
    )


def test_plain_grpo_trains_with_fresh_rollout_weights(struck_run):
    assert sorted(struck_run.metrics) == [1, 2], struck_run.log[-3000:]
    for step in (1, 2):
        assert struck_run.metrics[step][AGREEMENT] < ROUNDING, f"step {step}"
    assert struck_run.metrics[2][KL] > 100 * ROUNDING, "the policy has not moved: agreement would prove nothing"


def test_plain_grpo_validates_and_saves(struck_run):
    assert any(name.startswith("val-core/toy/") for name in struck_run.metrics[2])
    assert (struck_run.out / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == "2"


def test_a_receiver_that_hangs_in_a_weight_transfer_ends_the_run(struck_run):
    assert struck_run.returncode == 1
    assert f"waited {TRANSFER_TIMEOUT_S} s (VERL_SOFTTHINK_TRANSFER_TIMEOUT_S) for vLLM's worker" in struck_run.log
    assert struck_run.survivors() == []
