"""Whole steps of tree branching on the driver, with the pocket reasoner: what the actor's update would be given."""

from functools import partial

import pytest
import torch

from verl_softthink.batch import rows_of
from verl_softthink.methods.attnrl.batching import next_batch_size

from .driver import Driver, check_advantages, on_driver, rows_of_prompts

PREFIX = "softthink/attnrl/"


@pytest.fixture
def driver(monkeypatch):
    sizes = ["data.max_response_length=64", "data.train_batch_size=4", "actor_rollout_ref.rollout.n=3"]
    return partial(on_driver, Driver, monkeypatch, "attnrl", *sizes)


def _check_trees(run, batch):
    for rows in rows_of_prompts(run, batch):
        check_advantages(rows)
        for row in rows:
            assert len(row["responses"]) == len(row["response_mask"]) == len(row["old_log_probs"])
            torch.testing.assert_close(row["rollout_log_probs"], row["old_log_probs"], rtol=0, atol=1e-3)


def test_a_step_trains_trees_and_leaves_nothing_behind(driver):
    run, metrics = driver(), {}
    batch = run.step(metrics)
    _check_trees(run, batch)
    trained = sum(len(rows) for rows in rows_of_prompts(run, batch))
    assert metrics[f"{PREFIX}trained_responses"] == trained > 0
    assert metrics[f"{PREFIX}log_prob_lag"] < 1e-5
    assert set(run.queue.rows) == set(batch.keys)
    # Two updates of equal parts, in micro-batches of 2.
    assert len(batch) % 4 == 0 and run.stage.mini_batch_rows(len(batch)) == len(batch) // 2
    assert run.stage.batching.prompts == next_batch_size(4, wanted=4 * 3, trained=trained)


def test_branching_by_entropy(driver):
    tree = ["softthink.attnrl.branching=entropy", "softthink.attnrl.expansion=all"]
    off = [f"softthink.attnrl.{name}=false" for name in ("attention_filter", "zero_advantage_filter", "adaptive_batch")]
    run, metrics = driver(*tree, *off), {}
    batch = run.step(metrics)
    _check_trees(run, batch)
    # Every response of every prompt, each with two points and two continuations.
    assert metrics[f"{PREFIX}trained_responses"] == 4 * 3 * 5 and metrics[f"{PREFIX}branched_responses"] == 1
    assert run.stage.batching.prompts == 4 and metrics[f"{PREFIX}influence/mean"] == 0


def test_one_step_off_policy(driver):
    run = driver("softthink.attnrl.off_policy=1")
    first, second = {}, {}
    batch = run.step(first)
    _check_trees(run, batch)
    assert first[f"{PREFIX}log_prob_lag"] < 1e-5
    run.queue.kv_clear(batch.keys, "train")
    assert not run.queue.rows, "the next step's responses are held by the driver"
    run.nudge()
    _check_trees(run, run.step(second))
    assert second[f"{PREFIX}log_prob_lag"] > 1e-4
    assert run.stage.schedule.untrained is None and not run._groups


def test_aborted_continuations_are_counted_and_dropped(driver):
    run, metrics = driver(abort_every=3), {}
    _check_trees(run, run.step(metrics))
    branches = metrics[f"{PREFIX}aborted"]
    assert branches == run._asked // 3 > 0


def test_a_step_without_signal_has_rows_that_teach_nothing(driver, monkeypatch):
    monkeypatch.setattr(f"{Driver.__module__}.compute_score", lambda *arguments: 0.0)
    run, metrics = driver(), {}
    batch = run.step(metrics)
    (rows,) = rows_of_prompts(run, batch)
    assert metrics[f"{PREFIX}trained_responses"] == 0 and metrics[f"{PREFIX}useful_prompts"] == 0
    assert len(rows) == 3 and not any(row["advantages"].any() for row in rows)
    assert run.stage.batching.prompts == 4


def test_state_survives_a_checkpoint(driver, tmp_path):
    from verl_softthink.training.stage_states import load_states, save_states

    run = driver("softthink.attnrl.off_policy=1")
    run.step({})
    run.stage.batching.prompts = 7
    save_states(tmp_path, {"attnrl": run.stage})
    other = driver("softthink.attnrl.off_policy=1")
    load_states(tmp_path, {"attnrl": other.stage})
    assert other.stage.batching.prompts == 7
    before, after = (rows_of(stage.schedule.untrained) for stage in (run.stage, other.stage))
    assert before == after and len(after) > 0
    assert other.stage.state_dict()["attention_filter"] == run.stage.state_dict()["attention_filter"]
    load_states(tmp_path / "none", {"attnrl": other.stage})


def test_rows_that_share_a_prefix_stay_together(driver):
    run = driver("softthink.attnrl.shared_prefix=dedup")
    batch = run.step({})
    assert run.stage.pass_settings == {"softthink_shared_prefix": "dedup"}
    prompts = [key.split("_")[0] for key in batch.keys]
    assert len([1 for one, two in zip(prompts, prompts[1:], strict=False) if one != two]) == len(set(prompts)) - 1
