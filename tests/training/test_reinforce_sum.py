"""The paper's loss through verl's registry, against a loop over responses, however the batch is cut."""

import numpy as np
import pytest
import torch

pytest.importorskip("verl")
from verl.trainer.ppo import core_algos
from verl.workers.config import ActorConfig

from verl_softthink.training import reinforce_sum as reinforce

PROMPTS, GROUP, LENGTH = 3, 4, 6
RESPONSES = PROMPTS * GROUP


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, LENGTH + 1, (RESPONSES,), generator=generator)
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    mask[2, 0] = 0  # a forced token, masked from the loss
    rewards = torch.zeros(RESPONSES, LENGTH, dtype=torch.float64)
    graded = torch.tensor([100.0, 10.0, 0.0], dtype=torch.float64)
    rewards[:, 0] = graded[torch.randint(3, (RESPONSES,), generator=generator)]
    logits = torch.randn(RESPONSES, LENGTH, 5, generator=generator, dtype=torch.float64)
    tokens = torch.randint(5, (RESPONSES, LENGTH), generator=generator)
    return logits, tokens, mask, rewards, np.repeat([f"p{i}" for i in range(PROMPTS)], GROUP)


def _config(**batch_info):
    config = ActorConfig(strategy="fsdp", rollout_n=GROUP, ppo_micro_batch_size_per_gpu=1)
    config.global_batch_info.update(
        {"dp_size": 1, "batch_num_tokens": None, "global_batch_size": RESPONSES, "loss_scale_factor": None} | batch_info
    )
    return config


def _log_probs(logits, tokens):
    return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


def _loss(log_probs, advantages, mask, config=None, **changes):
    arguments = {
        "old_log_prob": log_probs.detach() - 0.5,
        "log_prob": log_probs,
        "advantages": advantages,
        "response_mask": mask.bool(),
        "loss_agg_mode": "seq-mean-token-sum",
        "config": config or _config(),
    }
    return core_algos.get_policy_loss_fn("reinforce_sum")(**arguments | changes)


def _reference(logits, tokens, mask, rewards):
    """The formula, response by response: leave-one-out advantage times the response's log-probability."""
    total = 0.0
    for response in range(RESPONSES):
        first = response - response % GROUP
        others = [float(rewards[j].sum()) for j in range(first, first + GROUP) if j != response]
        advantage = float(rewards[response].sum()) - sum(others) / len(others)
        for position in range(LENGTH):
            if mask[response, position]:
                row = logits[response, position]
                log_prob = row[tokens[response, position]] - row.exp().sum().log()
                total = total - advantage * log_prob
    return total / RESPONSES


def _advantages(mask, rewards, index):
    return core_algos.compute_rloo_outcome_advantage(rewards.clone(), mask, index)[0]


def test_rloo_leaves_one_out_and_divides_by_no_deviation(batch):
    _, _, mask, rewards, index = batch
    advantages = _advantages(mask, rewards, index)
    scores = rewards.sum(-1).view(PROMPTS, GROUP)
    expected = scores - (scores.sum(-1, keepdim=True) - scores) / (GROUP - 1)
    torch.testing.assert_close(advantages, expected.view(-1, 1) * mask)
    torch.testing.assert_close(_advantages(mask, 7 * rewards, index), 7 * advantages)


def test_gradient_of_the_formula(batch):
    logits, tokens, mask, rewards, index = batch
    advantages = _advantages(mask, rewards, index)
    leaf, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, metrics = _loss(_log_probs(leaf, tokens), advantages, mask)
    expected = _reference(other, tokens, mask, rewards)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*torch.autograd.grad(loss, leaf), *torch.autograd.grad(expected, other))
    assert metrics["actor/log_ratio_std"] == pytest.approx(0.5)


@pytest.mark.parametrize("cuts", [[4, 4, 4], [1, 5, 6], [1] * 12])
@pytest.mark.parametrize("ranks", [1, 2])
def test_micro_batches_on_several_ranks_add_up_to_one_batch(batch, cuts, ranks):
    logits, tokens, mask, rewards, index = batch
    advantages = _advantages(mask, rewards, index)
    whole = logits.clone().requires_grad_()
    _loss(_log_probs(whole, tokens), advantages, mask)[0].backward()
    cut = logits.clone().requires_grad_()
    log_probs = _log_probs(cut, tokens)
    pieces = zip(*(part.split(cuts) for part in (log_probs, advantages, mask)), strict=True)
    # Gradients are averaged over the ranks, to one of which each piece belongs.
    total = sum(_loss(*piece, config=_config(dp_size=ranks))[0] for piece in pieces) / ranks
    total.backward()
    torch.testing.assert_close(cut.grad, whole.grad)


def test_padding_responses_change_nothing(batch):
    logits, tokens, mask, rewards, index = batch
    advantages = _advantages(mask, rewards, index)
    loss, _ = _loss(_log_probs(logits, tokens), advantages, mask)
    empty = torch.full((2, LENGTH), torch.nan, dtype=torch.float64)
    padded, _ = _loss(
        torch.cat((_log_probs(logits, tokens), empty)),
        torch.cat((advantages, torch.zeros(2, LENGTH))),
        torch.cat((mask, torch.zeros(2, LENGTH, dtype=torch.long))),
    )
    torch.testing.assert_close(padded, loss)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_agg_mode": "token-mean"}, "loss_agg_mode='token-mean'"),
        ({"ppo_epochs": 2}, "ppo_epochs=1 (is 2)"),
        ({"ppo_mini_batch_size": 2}, "ppo_mini_batch_size=4 (is 2)"),
    ],
)
def test_what_the_loss_is_not_is_refused_before_a_run(changes, message):
    fitting = {"loss_agg_mode": "seq-mean-token-sum", "ppo_epochs": 1, "ppo_mini_batch_size": 4, "train_batch_size": 4}
    assert reinforce.actor_problems(**fitting) == []
    (problem,) = reinforce.actor_problems(**fitting | changes)
    assert message in problem


def test_other_aggregations_and_importance_weights_are_refused(batch):
    logits, tokens, mask, _, _ = batch
    log_probs = _log_probs(logits, tokens)
    with pytest.raises(ValueError, match="loss_agg_mode='token-mean'.*'seq-mean-token-sum'"):
        _loss(log_probs, log_probs, mask, loss_agg_mode="token-mean")
    with pytest.raises(ValueError, match="rollout_correction.rollout_is"):
        _loss(log_probs, log_probs, mask, rollout_is_weights=torch.ones_like(log_probs))
