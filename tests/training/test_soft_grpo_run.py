"""SofT-GRPO through verl's own entry point: real Ray, FSDP 2, vLLM, weight sync; dumps, resume, a dead engine."""

import shutil
from pathlib import Path

import pytest
import torch
from support.runs import Run, faults, run_recipe, small_batch

from verl_softthink.laws import LAWS, Action, LawParameters, candidate_log_probs
from verl_softthink.report.dump import dump_path, read_dump
from verl_softthink.report.metric_docs import PREFIX, documentation

pytestmark = pytest.mark.verl

#: fp32 through two implementations of the same model; the issue's bound.
GAP = 1e-3


def _run(out: Path, *overrides: str, **how) -> Run:
    return run_recipe(
        "soft_grpo/run_pocket_cpu.sh",
        out,
        *small_batch(prompts=8, responses=4, micro_batch=32),
        *("data.val_max_samples=32", "actor_rollout_ref.actor.optim.lr=3e-4", "softthink.rollout.seed_answers=true"),
        *("trainer.val_before_train=False", "trainer.test_freq=-1"),
        *overrides,
        METHOD="soft_grpo",
        **how,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return _run(out, "trainer.total_training_steps=3", "trainer.save_freq=2", "trainer.test_freq=3")


def test_rollout_and_actor_agree_on_every_density_after_every_update(whole):
    metrics = whole.metrics
    assert sorted(metrics) == [1, 2, 3]
    for data in metrics.values():
        assert data["softthink/log_prob_gap/mean"] < GAP
        assert data["softthink/log_prob_gap/drawn/mean"] < GAP
        assert data["softthink/soft_fraction"] > 0.5
        assert data["actor/grad_norm"] > 0
    # The policy has moved, so agreement is not that of two untouched copies.
    assert metrics[3]["softthink/log_density_k3"] > 1e-4
    assert any(name.startswith("val-core/") for name in metrics[3])


def test_dump_holds_traces_whose_densities_can_be_recomputed(whole):
    responses, law = read_dump(dump_path(whole.out / "rollouts", 1))
    assert len(responses) == 32
    parameters = LawParameters.uniform(1, tau=law["tau"], noise_scale=law["noise_scale"])
    for response in responses[:8]:
        trace = response.trace
        assert len(trace) == len(response.response_ids)
        for position in trace.soft.nonzero()[:4, 0].tolist():
            action = Action(ids=trace.ids[position][None].long(), values=trace.values[position][None])
            slot = LAWS[law["name"]].shown_slot(action, parameters)
            assert int(action.ids[0, slot]) == int(response.response_ids[position])


def test_first_step_s_densities_are_the_base_model_s(whole):
    """The dump's own log-density, recomputed from the checkpoint and the trace alone."""
    from transformers import AutoModelForCausalLM

    from verl_softthink.pocket import checkpoint_path

    responses, law = read_dump(dump_path(whole.out / "rollouts", 1))
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32).eval()
    table = model.get_input_embeddings().weight.detach()
    for response in responses[:4]:
        trace, tokens = response.trace, response.response_ids.long()
        action = Action(ids=trace.ids.long(), values=trace.values)
        parameters = LawParameters.uniform(len(trace), tau=law["tau"], noise_scale=law["noise_scale"])
        weights = LAWS[law["name"]].weights(action, parameters)
        mixed = LAWS[law["name"]].embed(weights, table[action.ids.clamp(min=0)])
        inputs = torch.where(trace.soft[:, None], mixed, table[tokens])
        embeddings = torch.cat((table[response.prompt_ids.long()], inputs))
        with torch.no_grad():
            logits = model(inputs_embeds=embeddings[None]).logits[0, len(response.prompt_ids) - 1 : -1]
        log_probs = candidate_log_probs(logits, action.ids, normalise_over="candidates")
        expected = LAWS[law["name"]].log_prob(action, log_probs, parameters)
        torch.testing.assert_close(trace.log_prob[trace.soft], expected[trace.soft], rtol=0, atol=1e-4)
        entropy = torch.special.entr(logits.softmax(-1)).sum(-1)
        torch.testing.assert_close(trace.entropy, entropy, rtol=0, atol=1e-3)


def test_every_metric_of_the_run_is_documented(whole):
    names = {name for data in whole.metrics.values() for name in data if name.startswith(PREFIX)}
    assert len(names) > 15
    assert [name for name in sorted(names) if documentation(name) is None] == []


def test_a_run_ends_its_own_ray_and_vllm(whole):
    assert whole.survivors() == []


@pytest.fixture(scope="module")
def resumed(whole, tmp_path_factory):
    """Continued from the checkpoint of step 2; in step 4 the engine dies."""
    out = tmp_path_factory.mktemp("resumed")
    shutil.copytree(whole.out / "checkpoints" / "global_step_2", out / "checkpoints" / "global_step_2")
    (out / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("2")
    shutil.copytree(whole.out / "data", out / "data")
    return _run(
        out,
        *("trainer.total_training_steps=5", "trainer.save_freq=-1"),
        fails=True,
        **faults("4:rollout:VLLM::EngineCore:SIGKILL"),
    )


def test_a_resumed_run_repeats_the_next_step(whole, resumed):
    assert sorted(resumed.metrics) == [3]
    for name in (
        "critic/score/mean",
        "response_length/mean",
        "softthink/soft_fraction",
        "actor/pg_loss",
        "actor/grad_norm",
    ):
        expected = pytest.approx(whole.metrics[3][name], rel=1e-3, abs=1e-4)
        assert resumed.metrics[3][name] == expected, name


def test_an_engine_that_dies_ends_the_run(resumed):
    assert "RolloutLost: vLLM replica 0, node 0 is dead: EngineDeadError" in resumed.log
    assert resumed.survivors() == []


def test_overview_of_the_run(whole):
    from verl_softthink.report.overview import write_trace_page

    page = whole.out / "trace.html"
    write_trace_page(dump_path(whole.out / "rollouts", 3), None, page, 2)
    page = page.read_text()
    assert "effective" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
