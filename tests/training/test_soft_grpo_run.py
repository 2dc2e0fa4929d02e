"""SofT-GRPO with RePro's rewards through verl's own entry point: real Ray, FSDP 2, vLLM, weight sync; dumps, resume."""

import shutil
from pathlib import Path

import pytest
import torch
from support.runs import Run, faults, run_recipe, small_batch

from training.recomputed import action_and_parameters, logits_and_densities, rewards_of_tokens
from verl_softthink.dump import dump_path, read_dump
from verl_softthink.laws import LAWS
from verl_softthink.methods.repro.fields import REWARD
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.report.metric_doc import PREFIX
from verl_softthink.training.metric_docs import documentation

pytestmark = pytest.mark.verl

#: fp32 through two implementations of the same model; the issue's bound.
GAP = 1e-3


def _run(out: Path, *overrides: str, **how) -> Run:
    return run_recipe(
        "repro/run_pocket_cpu.sh",
        out,
        *small_batch(prompts=8, responses=4, micro_batch=32),
        *("data.val_max_samples=32", "actor_rollout_ref.actor.optim.lr=3e-4", "softthink.rollout.seed_answers=true"),
        *("trainer.val_before_train=False", "trainer.test_freq=-1"),
        # Few responses are longer; a long one would keep the others waiting.
        *("data.max_response_length=80", "softthink.phase.budget=72"),
        *overrides,
        METHOD="soft_grpo_repro",
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


@pytest.fixture(scope="module")
def first_step(whole):
    """Responses of the first step, its law, and the model that wrote them."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(OVERTHINKING), dtype=torch.float32).eval()
    return *read_dump(dump_path(whole.out / "rollouts", 1)), model


def test_a_soft_position_shows_the_token_of_its_own_trace(first_step):
    responses, law, _ = first_step
    assert len(responses) == 32
    for response in responses[:8]:
        trace = response.trace
        assert len(trace) == len(response.response_ids)
        slots = LAWS[law["name"]].shown_slot(*action_and_parameters(trace, law))
        shown = trace.ids.gather(-1, slots[:, None])[:, 0]
        assert torch.equal(shown[trace.soft], response.response_ids[trace.soft])


def test_first_step_s_densities_are_the_checkpoint_s(first_step):
    responses, law, model = first_step
    for response in responses[:4]:
        trace = response.trace
        logits, densities = logits_and_densities(model, response, law)
        torch.testing.assert_close(trace.log_prob[trace.soft], densities[trace.soft], rtol=0, atol=1e-4)
        entropy = torch.special.entr(logits.softmax(-1)).sum(-1)
        torch.testing.assert_close(trace.entropy, entropy, rtol=0, atol=1e-3)


def test_first_step_s_process_rewards_are_the_checkpoint_s(first_step):
    from transformers import AutoTokenizer

    responses, law, model = first_step
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path(OVERTHINKING))
    settings = ReproSettings(delimiters=("\n",), lead_in="</think>", answer="{answer}", backtracking=("?",))
    lead_in = [tokenizer.convert_tokens_to_ids("</think>")]
    for response in responses[:8]:
        answer = tokenizer.encode(response.answer, add_special_tokens=False)
        rewards = rewards_of_tokens(model, response, law, lead_in, answer, settings)
        torch.testing.assert_close(response.extra[REWARD], rewards, rtol=0, atol=1e-4)
        assert rewards.abs().max() > 1e-3


def test_process_rewards_are_in_the_metrics_of_every_step(whole):
    for data in whole.metrics.values():
        values = {name.removeprefix("softthink/repro/"): v for name, v in data.items() if "softthink/repro" in name}
        assert 0.9 < values["scored"] <= 1.0 and values["pieces/mean"] > 2
        # Wrong responses are sure of wrong answers, so the mean may fall while the policy is mostly wrong.
        rise = values["surrogate/end"] - values["surrogate/prompt"]
        assert values["surrogate/rise"] == pytest.approx(rise, abs=1e-4) and abs(rise) > 0.01
        assert 0 < values["negative_share"] < 1 and values["scoring_seconds"] > 0
        assert 0 < values["stability"] < 1 and 0 < values["magnitude"] < 1
        assert values["thinking_length/mean"] < data["response_length/mean"]
        assert values["advantage/abs_mean"] > 0


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
