"""SofT-GRPO with RePro's rewards in verl's asynchronous trainer: responses are aborted, resumed and trained.

What a response is made of is recomputed from the rollout dump: the positions that the first policy drew, with the
checkpoint that training began with; those behind them come from the actor's own pass.
"""

import pytest
import torch
from support.runs import run_recipe, small_batch

from training.recomputed import logits_and_densities
from verl_softthink.dump import dump_path, read_dump
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.report.metric_doc import PREFIX
from verl_softthink.rollout.fields import VERSION
from verl_softthink.training.metric_docs import documentation

pytestmark = pytest.mark.verl

#: fp32 through two implementations of the same model.
GAP = 1e-3
STEPS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_recipe(
        "repro/run_pocket_cpu.sh",
        tmp_path_factory.mktemp("colocate_async"),
        *small_batch(prompts=8, responses=4, micro_batch=32),
        *("trainer.v1.trainer_mode=colocate_async", f"trainer.total_training_steps={STEPS}"),
        # Fewer than the two batches that are under way, so that some are when the first is complete.
        "actor_rollout_ref.rollout.max_num_seqs=24",
        "algorithm.rollout_correction.rollout_is=token",
        *("data.max_response_length=80", "softthink.phase.budget=72", "actor_rollout_ref.actor.optim.lr=3e-4"),
        *("trainer.val_before_train=False", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        METHOD="soft_grpo_repro",
    )


@pytest.fixture(scope="module")
def steps(run):
    """Responses of every step, and the law that drew them."""
    dumps = [read_dump(dump_path(run.out / "rollouts", step)) for step in range(1, STEPS + 1)]
    return [responses for responses, _ in dumps], dumps[0][1]


def test_resumed_responses_are_trained(run):
    assert sorted(run.metrics) == list(range(1, STEPS + 1))
    assert run.metrics[1]["softthink/resumed_responses"] == 0
    assert sum(data["softthink/resumed_responses"] for data in run.metrics.values()) > 0
    for data in run.metrics.values():
        assert data["actor/grad_norm"] > 0 and data["softthink/repro/scored"] > 0.9
        assert data["softthink/versions/max"] == data["training/off_policy/trajectory_spans/max"]
        # verl's importance weights of stale positions, from the log-densities of those who drew them.
        assert 0.5 < data["rollout_corr/rollout_is_mean"] < 1.5
    assert any(name.endswith("lag_1/share") for name in run.metrics[2])


def test_what_the_current_policy_drew_behind_older_thoughts_has_its_log_density(run, steps):
    """The rollout went on from the same mixtures, under the weights that the actor has."""
    resumed = 0
    for step, responses in enumerate(steps[0], start=1):
        for response in responses:
            versions = response.extra[VERSION].long()
            assert torch.equal(versions, versions.sort().values) and versions.max() < step
            resumed += bool((versions[0] < versions[-1]) & (versions[-1] == step - 1))
        if "softthink/lag_0/log_prob_gap" in run.metrics[step]:
            assert run.metrics[step]["softthink/lag_0/log_prob_gap"] < GAP
    assert resumed > 0
    behind = [data["softthink/lag_1/log_prob_gap"] for data in run.metrics.values() if "softthink/lag_1/share" in data]
    assert min(behind) > GAP


def test_what_the_first_policy_drew_is_the_checkpoint_s(steps):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(OVERTHINKING), dtype=torch.float32).eval()
    responses, law = [response for step in steps[0][1:] for response in step], steps[1]
    compared = moved = 0
    for response in responses:
        trace, first = response.trace, response.extra[VERSION] == 0
        if not first.any():
            continue
        _, densities = logits_and_densities(model, response, law)
        gap = (trace.log_prob - densities).abs()
        torch.testing.assert_close(
            gap[trace.soft & first], torch.zeros(int((trace.soft & first).sum())), atol=GAP, rtol=0
        )
        compared += int((trace.soft & first).sum())
        moved += int((gap[trace.soft & ~first] > GAP).sum())
    assert compared > 100 and moved > 10


def test_nothing_is_trained_twice(steps):
    keys = [response.key for responses in steps[0] for response in responses]
    assert len(keys) == len(set(keys)) == STEPS * 32


def test_every_metric_of_the_run_is_documented(run):
    names = {name for data in run.metrics.values() for name in data if name.startswith(PREFIX)}
    assert [name for name in sorted(names) if documentation(name) is None] == []


def test_a_run_ends_its_own_ray_and_vllm(run):
    assert run.survivors() == []
