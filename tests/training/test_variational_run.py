"""Posterior thoughts through verl's own entry point: an ordinary step with a mixed group, then a posterior step."""

import pytest
import torch
from support.runs import run_recipe, small_batch

from verl_softthink.dump import dump_path, read_dump
from verl_softthink.methods.variational.fields import OTHER_LOG_PROBS, WEIGHT
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.metric_docs import documentation

pytestmark = pytest.mark.verl

PREFIX = "softthink/variational/"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_recipe(
        "variational/run_pocket_cpu.sh",
        tmp_path_factory.mktemp("variational"),
        *small_batch(prompts=8, responses=4, micro_batch=32),
        *("softthink.variational.model_share=0.5", "softthink.variational.resampled_answers=2"),
        *("softthink.variational.posterior_every=2", "trainer.total_training_steps=2", "data.val_max_samples=16"),
        *("trainer.val_before_train=False", "trainer.test_freq=2", "trainer.save_freq=-1"),
        METHOD="variational_b",
        MODEL=str(checkpoint_path()),
    )


def test_an_ordinary_step_and_a_posterior_step(run):
    assert sorted(run.metrics) == [1, 2]
    ordinary, posterior = run.metrics[1], run.metrics[2]
    for data, prefix in ((ordinary, PREFIX), (posterior, f"{PREFIX}posterior_step/")):
        # The rollout's log-probs are those of the prompt that each thought came from.
        assert data[f"{prefix}proposal_log_prob_gap"] < 1e-3
        assert 1 <= data[f"{prefix}effective_sample_size/mean"] <= 4
        assert 0 <= data[f"{prefix}dropped_groups"] < 1
        assert 0 < data[f"{prefix}accuracy/model"] <= 1
        assert 0 <= data[f"{prefix}leakage/copied_fraction/model"] <= 1
        assert data["actor/grad_norm"] > 0
        assert "training/rollout_probs_diff_mean" not in data
        assert all(documentation(name) for name in data if name.startswith(prefix))
    assert 0 <= ordinary[f"{PREFIX}accuracy/posterior"] <= 1
    assert f"{PREFIX}posterior_step/accuracy/posterior" not in posterior
    assert any("pocket/longest" in name for name in posterior)


def test_dumped_weights_are_those_of_the_definition(run):
    responses, _ = read_dump(dump_path(run.out / "rollouts", 1))
    groups: dict[str, list] = {}
    for response in responses:
        groups.setdefault(response.key.rsplit("_", 2)[0], []).append(response)
    assert {len(group) for group in groups.values()} == {4}
    for group in groups.values():
        weights = torch.stack([response.extra[WEIGHT][0] for response in group])
        rewards = torch.tensor([response.reward for response in group])
        assert ((weights > 0) == (rewards > 0)).all()
        assert weights.sum().item() == pytest.approx(float((rewards > 0).any()), abs=1e-5)
        assert all(len(response.extra[OTHER_LOG_PROBS]) == len(response.response_ids) for response in group)
