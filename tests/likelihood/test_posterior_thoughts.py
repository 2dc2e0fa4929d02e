"""Variational reasoning through verl's engine: the second likelihood, and the limit of a posterior like the model."""

from functools import partial

import numpy
import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.config import PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

from verl_softthink.methods.variational.advantage import variational_advantage
from verl_softthink.methods.variational.fields import OTHER_LOG_PROBS, OTHER_PROMPT, THOUGHT
from verl_softthink.methods.variational.other_prompt import rows_after_other_prompt
from verl_softthink.methods.variational.stage import scored_thoughts
from verl_softthink.methods.variational.weighting import importance_weights, weight_metrics, weighted_advantages

from .models import VOCABULARY
from .runs import actor_config, build, infer, train
from .samples import jagged

SIZE, QUESTIONS, HORIZON = 3, 3, 16
#: Right and wrong responses; the last question has no right one.
REWARDS = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]


def questions(*, hinted: bool) -> TensorDict:
    """Nine rows of three questions as the queue holds them; the other prompt is longer, or the same."""
    generator = torch.Generator().manual_seed(5)

    def tokens(length):
        return torch.randint(0, VOCABULARY, (length,), generator=generator)

    prompts = [tokens(length) for length in (3, 5, 4) for _ in range(SIZE)]
    hints = [torch.cat((prompt, tokens(6))) if hinted else prompt for prompt in prompts]
    responses = [tokens(length) for length in (4, 9, 6, 2, 7, 5, 3, 8, 4)]
    sequences = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    masks = [torch.ones(len(response), dtype=torch.int64) for response in responses]
    rewards = [torch.nn.functional.one_hot(m.sum() - 1, len(m)) * r for m, r in zip(masks, REWARDS, strict=True)]
    tensors = {
        "input_ids": jagged(sequences),
        "position_ids": jagged([torch.arange(len(sequence)) for sequence in sequences]),
        "prompts": jagged(prompts),
        "responses": jagged(responses),
        "response_mask": jagged(masks),
        "loss_mask": jagged(masks),
        OTHER_PROMPT: jagged(hints),
        THOUGHT: jagged(masks),
        "rm_scores": jagged(rewards),
    }
    return tu.get_tensordict(tensors, ENGINE | {"uid": [f"q{row // SIZE}" for row in range(len(prompts))]})


ENGINE = {
    "temperature": 0.8,
    "use_remove_padding": False,
    "use_dynamic_bsz": False,
    "micro_batch_size_per_gpu": 3,
    "global_batch_size": SIZE * QUESTIONS,
    "calculate_entropy": False,
}


def both_likelihoods(engine, data: TensorDict) -> TensorDict:
    """The two passes of a training step."""
    data["old_log_probs"] = jagged(infer(engine, data))
    other = rows_after_other_prompt(data)
    tu.assign_non_tensor(other, **ENGINE)
    data[OTHER_LOG_PROBS] = jagged(infer(engine, other))
    return data


def weights_of(data: TensorDict, **options) -> torch.Tensor:
    thoughts = scored_thoughts(data, trained_with_hint=False)
    return importance_weights(thoughts, **{"estimator": "accuracy", "share": 0.0, "length_normalised": True, **options})


def gradients_of(engine, data: TensorDict, row_advantages: torch.Tensor, loss_mode: str):
    lengths = data["response_mask"].offsets().diff().tolist()
    data["advantages"] = jagged(
        [torch.full((length,), value) for length, value in zip(lengths, row_advantages.tolist(), strict=True)]
    )
    config = actor_config(
        loss_agg_mode="seq-mean-token-sum-norm",
        loss_scale_factor=HORIZON,
        use_kl_loss=False,
        policy_loss=PolicyLossConfig(loss_mode=loss_mode),
    )
    return train(engine, data, partial(ppo_loss, config=config))


@pytest.fixture(scope="module")
def engine(model_path):
    return build(model_path("qwen3"))


@pytest.mark.parametrize("importance", [True, False])
def test_a_posterior_that_is_the_model_gives_the_on_policy_form_without_its_control_variate(engine, importance):
    data = both_likelihoods(engine, questions(hinted=False))
    weights = weights_of(data, length_normalised=importance)
    group = torch.arange(SIZE * QUESTIONS) // SIZE
    ours = weighted_advantages(weights, group)

    rewards, mask = (data[name].to_padded_tensor(0) for name in ("rm_scores", "response_mask"))
    on_policy = variational_advantage(rewards, mask, numpy.repeat(numpy.arange(QUESTIONS), SIZE))[0][:, 0]
    solved = torch.tensor([True, True, False])[group]
    expected = on_policy + solved
    torch.testing.assert_close(ours.float(), expected, rtol=0, atol=1e-6)

    loss, gradients = gradients_of(engine, data, ours, "variational")
    # verl's own PPO loss at the old policy: the ratio is 1 and its gradient is the score.
    _, theirs = gradients_of(engine, data, expected, "vanilla")
    assert max(gradient.abs().max() for gradient in theirs.values()) > 1e-2
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    by_hand = -sum(w * row.double().sum() for w, row in zip(weights, data["old_log_probs"].unbind(), strict=True)) / (
        QUESTIONS * HORIZON
    )
    assert loss == pytest.approx(by_hand.item(), rel=1e-5)


def test_weights_of_hinted_thoughts_against_a_plain_forward_pass(engine, model_path):
    from transformers import AutoModelForCausalLM

    data = both_likelihoods(engine, questions(hinted=True))
    model = AutoModelForCausalLM.from_pretrained(model_path("qwen3"), dtype=torch.float32).eval()

    @torch.no_grad()
    def log_likelihood(prompt, response):
        logits = model(torch.cat((prompt, response))[None]).logits[0, len(prompt) - 1 : -1] / ENGINE["temperature"]
        return logits.log_softmax(-1).gather(-1, response[:, None]).double().sum()

    rows = list(zip(*(data[name].unbind() for name in ("prompts", OTHER_PROMPT, "responses")), strict=True))
    ratio = torch.stack([log_likelihood(p, z) - log_likelihood(q, z) for p, q, z in rows])
    rho = ratio.exp() * torch.tensor(REWARDS)
    totals = rho.view(QUESTIONS, SIZE).sum(1, keepdim=True)
    expected = (rho.view(QUESTIONS, SIZE) / totals.where(totals > 0, torch.ones_like(totals))).flatten()
    found = weights_of(data, length_normalised=False)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert found.view(QUESTIONS, SIZE).sum(1).tolist() == pytest.approx([1, 1, 0])
    metrics = weight_metrics(found, torch.arange(SIZE * QUESTIONS) // SIZE)
    assert metrics["dropped_groups"] == pytest.approx(1 / 3)
    assert 1 <= metrics["effective_sample_size/min"] <= 2
