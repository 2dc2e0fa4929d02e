"""Two steps of GRPO with process rewards, Ray, FSDP and vLLM real: rewards in the dump are those of the checkpoint."""

import pytest
import torch
from support.runs import run_recipe, small_batch

from verl_softthink.process_reward.fields import PIECE, REWARD
from verl_softthink.report.dump import dump_path, read_dump
from verl_softthink.report.metric_docs import documentation

pytestmark = pytest.mark.verl


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_recipe(
        "repro/run_pocket_cpu.sh",
        tmp_path_factory.mktemp("repro"),
        *small_batch(prompts=8, responses=4, micro_batch=32),
        *("trainer.val_before_train=False", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        "trainer.total_training_steps=2",
        METHOD="repro",
    )


def test_metrics_of_every_step(run):
    assert sorted(run.metrics) == [1, 2]
    for data in run.metrics.values():
        values = {name.removeprefix("softthink/repro/"): v for name, v in data.items() if "softthink/repro" in name}
        assert all(documentation(f"softthink/repro/{name}") for name in values)
        assert values["scored"] == 1.0 and values["pieces/mean"] > 2
        # Wrong responses are sure of wrong answers, so the mean may fall while the policy is mostly wrong.
        rise = values["surrogate/end"] - values["surrogate/prompt"]
        assert values["surrogate/rise"] == pytest.approx(rise, abs=1e-4) and abs(rise) > 0.01
        assert 0 < values["negative_share"] < 1 and values["scoring_seconds"] > 0
        assert 0 < values["stability"] < 1 and 0 < values["magnitude"] < 1
        assert values["thinking_length/mean"] < data["response_length/mean"]
        assert values["advantage/abs_mean"] > 0 and data["actor/grad_norm"] > 0


def test_rewards_of_the_first_step_are_the_checkpoints(run):
    """Recomputed response by response, outside of verl, from the dump's tokens alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from verl_softthink.pocket import OVERTHINKING, checkpoint_path
    from verl_softthink.process_reward.chain import score_chain
    from verl_softthink.process_reward.settings import ReproSettings

    path = checkpoint_path(OVERTHINKING)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()
    settings = ReproSettings(delimiters=("\n",), lead_in="</think>", answer="{answer}", backtracking=("?",))
    responses, _ = read_dump(dump_path(run.out / "rollouts", 1))
    assert len(responses) == 32
    for response in responses:
        chain = score_chain(
            model,
            tokenizer,
            response.prompt_ids.long(),
            response.response_ids.long(),
            response.answer,
            settings,
            "</think>",
        )
        piece, reward = chain.results.of_tokens(0, len(response.response_ids))
        assert torch.equal(response.extra[PIECE].long(), piece)
        torch.testing.assert_close(response.extra[REWARD], reward, rtol=0, atol=1e-4)
        assert response.trace.entropy.isfinite().all() and response.trace.entropy.max() > 0.01
