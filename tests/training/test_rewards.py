"""A reward on a forced token counts as if the response had ended before the token, for every estimator of verl."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

pytest.importorskip("verl")
from verl import DataProto
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.ray_trainer import compute_advantage

from verl_softthink.training.rewards import on_sampled_positions

ESTIMATORS = [name for name, function in core_algos.ADV_ESTIMATOR_REGISTRY.items() if "verl." in function.__module__]
#: Four responses to one question and four to another: sampled tokens, and forced tokens behind them.
SAMPLED, PLACED = [3, 5, 4, 2, 5, 1, 3, 4], [1, 0, 2, 0, 0, 1, 0, 2]
LENGTH = 6
CONFIG = OmegaConf.create({"gamma": 0.9, "norm_adv_by_std_in_grpo": True, "gdpo_reward_keys": ["acc"]})


def advantages(estimator: str, *, placed: bool, moved: bool) -> list[torch.Tensor]:
    """The advantages of the sampled tokens of each response, with or without the placed ones behind them."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor(SAMPLED) + (torch.tensor(PLACED) if placed else 0)
    rewards = torch.zeros(len(SAMPLED), LENGTH)
    rewards[torch.arange(len(SAMPLED)), lengths - 1] = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.5, 0.0])
    mask = (torch.arange(LENGTH) < torch.tensor(SAMPLED)[:, None]).long()
    if moved:
        rewards = torch.stack([on_sampled_positions(*row) for row in zip(rewards, mask, strict=True)])
    baselines = {"reward_baselines": torch.rand(len(SAMPLED), generator=generator)} if estimator == "remax" else {}
    data = DataProto.from_dict(
        tensors=baselines
        | {
            "token_level_rewards": rewards,
            "response_mask": mask,
            "values": torch.randn(len(SAMPLED), LENGTH, generator=generator) * mask,
            "old_log_probs": -torch.rand(len(SAMPLED), LENGTH, generator=generator),
            "sum_pi_squared": torch.rand(len(SAMPLED), LENGTH, generator=generator),
            "prompts": torch.zeros(len(SAMPLED), 2),
            "attention_mask": torch.cat(
                (torch.ones(len(SAMPLED), 2), (torch.arange(LENGTH) < lengths[:, None]).float()), dim=1
            ).long(),
        },
        non_tensors={"uid": np.repeat(["a", "b"], 4).astype(object), "acc": rewards.sum(1).numpy().astype(object)},
    )
    found = compute_advantage(data, estimator, gamma=0.9, lam=1.0, config=CONFIG).batch["advantages"]
    return [row[:length] for row, length in zip(found, SAMPLED, strict=True)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_response_that_was_cut_is_worth_what_it_would_be_without_the_placed_tokens(estimator):
    wanted = advantages(estimator, placed=False, moved=False)
    for row, expected in zip(advantages(estimator, placed=True, moved=True), wanted, strict=True):
        torch.testing.assert_close(row, expected)
    assert any(row.abs().max() > 0.1 for row in wanted)


@pytest.mark.parametrize("estimator", ["gae", "reinforce_plus_plus", "remax"])
def test_these_would_lose_it(estimator):
    lost, wanted = (advantages(estimator, placed=placed, moved=False) for placed in (True, False))
    assert not torch.allclose(lost[0], wanted[0])


@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=12))
def test_the_sum_stays_and_no_reward_is_left_behind_or_moved_forward(positions):
    rewards = torch.tensor([float(reward) for reward, _ in positions])
    mask = torch.tensor([sampled for _, sampled in positions])
    moved = on_sampled_positions(rewards, mask)
    if not mask.any():
        assert moved.equal(rewards)
        return
    assert moved.sum() == rewards.sum() and not moved[~mask].any()
    first = int(mask.nonzero()[0])
    for end in mask.nonzero()[:, 0].tolist():
        following = [t for t in mask.nonzero()[:, 0].tolist() if t > end]
        until = following[0] if following else len(rewards)
        start = 0 if end == first else end
        assert moved[end] == rewards[start:until].sum()
