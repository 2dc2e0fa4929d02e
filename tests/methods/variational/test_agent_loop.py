"""The agent loop of posterior thoughts on the pocket reasoner, with transformers in the place of vLLM."""

import asyncio

import pytest
import torch
from omegaconf import OmegaConf
from support.composing import composed
from support.loops import agent_loop

from verl_softthink.methods.variational.fields import FROM_MODEL, HINT_TEXT, OTHER_PROMPT, THOUGHT
from verl_softthink.pocket import checkpoint_path

ROW = {
    "raw_prompt": [{"role": "user", "content": "7+8*3"}],
    "data_source": "pocket/clock_arithmetic",
    "reward_model": {"ground_truth": "5"},
    "extra_info": {"solution": "7+8=5;5*3=5"},
    "global_steps": 1,
    "session_id": 0,
}
RESPONSE_LENGTH = 40


class TransformersServer:
    """verl's server client, for one process: samples from the checkpoint, returns tokens and their log-probs."""

    def __init__(self, model, eos: int):
        self.model, self.eos = model, eos
        self.prompts = []

    @torch.no_grad()
    async def generate(self, request_id, prompt_ids, sampling_params, **other):
        from verl.workers.rollout.replica import TokenOutput

        self.prompts.append(list(prompt_ids))
        ids, log_probs = list(prompt_ids), []
        for _ in range(sampling_params.get("max_tokens", RESPONSE_LENGTH)):
            distribution = self.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            ids.append(int(torch.multinomial(distribution.exp(), 1)))
            log_probs.append(distribution[ids[-1]].item())
            if ids[-1] == self.eos:
                break
        return TokenOutput(token_ids=ids[len(prompt_ids) :], log_probs=log_probs)


@pytest.fixture(scope="module")
def config():
    config = composed(
        [
            *("+softthink=variational", f"actor_rollout_ref.model.path={checkpoint_path()}"),
            *(f"data.max_response_length={RESPONSE_LENGTH}", "data.max_prompt_length=64"),
            *("actor_rollout_ref.rollout.n=4", "softthink.variational.hint.template='{question}|{hint}'"),
            "reward.custom_reward_function.path=pkg://verl_softthink.pocket.reward",
        ]
    )
    OmegaConf.resolve(config)
    return config


@pytest.fixture
def run(config, model, tokenizer):
    """Runs one session under the given settings; the output, its queue fields and the prompts that were asked."""
    from verl_softthink.methods.variational.agent_loop import PosteriorAgentLoop

    def session(seed=0, row=None, **settings):
        chosen = OmegaConf.create(OmegaConf.to_container(config))
        custom = chosen.actor_rollout_ref.rollout.custom.softthink.variational
        for key, value in settings.items():
            custom[key] = value
        server = TransformersServer(model, tokenizer.eos_token_id)

        async def go():
            loop = agent_loop(PosteriorAgentLoop, chosen, server, tokenizer)
            return await loop.run({"temperature": 1.0, "logprobs": True}, **ROW | (row or {}))

        torch.manual_seed(seed)
        output = asyncio.run(go())
        return output, output.as_dict(), server.prompts

    return session


@torch.no_grad()
def log_probs_of(model, prompt, response):
    prompt, response = torch.as_tensor(prompt), torch.as_tensor(response)
    logits = model(torch.cat((prompt, response))[None]).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(-1, response[:, None])[:, 0]


def prompts_of(tokenizer):
    return [tokenizer.encode(f"<user>{text}<assistant><think>") for text in ("7+8*3", "7+8*3|7+8=5;5*3=5")]


def test_rolls_out_with_the_hint_and_returns_a_row_without(run, model, tokenizer):
    plain, hinted = prompts_of(tokenizer)
    output, fields, asked = run()
    assert asked == [hinted]
    assert fields["prompts"].tolist() == plain and fields[OTHER_PROMPT].tolist() == hinted
    # The whole response is the thought, and verl's reward loop scores it.
    assert fields[THOUGHT].all() and fields["response_mask"].all() and "rm_scores" not in fields
    assert fields["extra_fields"][FROM_MODEL] is False and fields["extra_fields"][HINT_TEXT] == "7+8=5;5*3=5"
    torch.testing.assert_close(
        fields["rollout_log_probs"], log_probs_of(model, hinted, fields["responses"]), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(("session", "from_model"), [(0, True), (1, True), (2, False), (3, False)])
def test_the_first_sessions_of_a_mixed_group_are_the_models(run, tokenizer, session, from_model):
    plain, hinted = prompts_of(tokenizer)
    _, fields, asked = run(model_share=0.5, row={"session_id": session})
    assert asked == [plain if from_model else hinted]
    assert fields["prompts"].tolist() == plain and fields[OTHER_PROMPT].tolist() == hinted
    assert fields["extra_fields"][FROM_MODEL] is from_model


def test_answers_are_sampled_from_the_model_after_the_thought(run, model, tokenizer):
    plain, hinted = prompts_of(tokenizer)
    finished = 0
    for seed in range(4):
        output, fields, asked = run(seed, resampled_answers=3)
        ids, cut = fields["responses"], int(fields[THOUGHT].sum())
        if cut == len(ids):
            assert output.reward_score == 0.0
            continue
        finished += 1
        thought, answer = ids[:cut], ids[cut:]
        assert tokenizer.decode(thought).endswith("</think>")
        assert asked == [hinted, *[plain + thought.tolist()] * 3]
        assert output.reward_score in (0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0)
        if output.reward_score:
            assert tokenizer.decode(answer) == "5<eos>"
        expected = torch.cat(
            (log_probs_of(model, hinted, thought), log_probs_of(model, plain + thought.tolist(), answer))
        )
        torch.testing.assert_close(fields["rollout_log_probs"], expected, rtol=0, atol=1e-4)
        assert fields["response_mask"].all()
        assert fields["rm_scores"].sum() == pytest.approx(output.reward_score)
    assert finished


def test_the_reference_answer_takes_the_place_of_the_own_one(run, tokenizer):
    output, fields, asked = run(answer="product", answer_template="{answer}")
    ids, cut = fields["responses"].tolist(), int(fields[THOUGHT].sum())
    assert len(asked) == 1
    assert tokenizer.decode(ids[:cut]).endswith("</think>") and tokenizer.decode(ids[cut:]) == "5<eos>"
    assert output.reward_score in (0.0, 1.0)


def test_a_posterior_step_trains_the_hinted_prompt_on_the_models_thought(run, tokenizer):
    plain, hinted = prompts_of(tokenizer)
    _, fields, asked = run(posterior_every=2, resampled_answers=2, row={"global_steps": 4})
    assert asked[0] == plain
    assert fields["prompts"].tolist() == hinted and fields[OTHER_PROMPT].tolist() == plain
    assert fields["response_mask"].tolist() == fields[THOUGHT].tolist()
    assert 0 < fields["response_mask"].sum() < len(fields["responses"])


def test_prompts_that_would_be_cut_are_refused(run):
    with pytest.raises(ValueError, match="data.max_prompt_length=64 is too short for a prompt of 8[0-9] tokens"):
        run(row={"extra_info": {"solution": "7+8=5;5*3=5" * 7}})
