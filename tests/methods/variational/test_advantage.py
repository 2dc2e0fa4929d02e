"""Both estimators, alone and through verl's own registry and its handling of responses with several rows."""

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.methods.variational.advantage import advantages


def by_hand(rewards: list[float]) -> list[float]:
    total = sum(rewards)
    return [len(rewards) * r / total - 1 if total else 0.0 for r in rewards]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1).filter(lambda r: r == 0 or r > 1e-6), min_size=1, max_size=16))
def test_advantage_is_the_reward_over_its_mean_less_one(rewards):
    found = advantages(torch.tensor(rewards, dtype=torch.float64), torch.zeros(len(rewards), dtype=torch.int64))
    torch.testing.assert_close(found, torch.tensor(by_hand(rewards), dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert found.min() >= -1 and found.max() <= len(rewards) - 1 + 1e-9


def batch(rewards: list[float], lengths: list[int]):
    width = max(lengths)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    scores = torch.zeros(len(rewards), width)
    for row, (reward, length) in enumerate(zip(rewards, lengths, strict=True)):
        scores[row, max(length - 1, 0)] = reward if length else 0.0
    return scores, mask


def estimator(name: str):
    import verl  # noqa: F401
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    return get_adv_estimator_fn(name)


def test_in_verls_registry_with_padding_rows_and_groups_of_any_size():
    scores, mask = batch([1, 0, 0, 1, 1, 0, 0], [3, 1, 2, 2, 4, 0, 1])
    index = numpy.array(["b", "a", "b", "a", "a", "b", "c"], dtype=object)
    found, returns = estimator("variational")(scores, mask, index=index, config=None)
    expected = torch.tensor([1.0, -1.0, -1.0, 0.5, 0.5, 0.0, 0.0])[:, None] * mask
    torch.testing.assert_close(found, expected)
    assert returns is found


def test_rejection_sampling_in_verls_registry():
    scores, mask = batch([1, 0, 0.5], [3, 1, 2])
    found, _ = estimator("rejection_sampling")(scores, mask, index=None, config=None)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.5])[:, None] * mask)


def test_negative_rewards_are_refused():
    with pytest.raises(ValueError, match="reward -1 is negative: algorithm.adv_estimator=variational"):
        advantages(torch.tensor([1.0, -1.0]), torch.zeros(2, dtype=torch.int64))


def test_a_response_of_several_rows_counts_once():
    from verl.protocol import DataProto
    from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

    # Question q: response 0 (right) in three rows, responses 1 and 2 (wrong) in one each; every row has the reward.
    keys = ["q_0_0", "q_1_0", "q_0_1", "q_2_0", "q_0_2"]
    scores, mask = batch([1, 0, 1, 0, 1], [2, 3, 1, 2, 3])
    data = DataProto.from_dict(
        tensors={"token_level_rewards": scores, "response_mask": mask},
        non_tensors={"uid": numpy.array(["q"] * 5, dtype=object)},
    )
    found = compute_advantage_for_multi_trajectories(data, batch_keys=keys, adv_estimator="variational")
    expected = torch.tensor([2.0, -1.0, 2.0, -1.0, 2.0])[:, None] * mask
    torch.testing.assert_close(found.batch["advantages"], expected)
