"""Magnitude, stability, rewards of pieces and tokens, and advantages against the paper, SciPy and plain loops."""

import math

import jaxtyping
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.methods.repro.advantage import (
    NORMALISERS,
    STD_OFFSET,
    generalised_advantage,
    process_advantage,
    whitened,
)
from verl_softthink.methods.repro.rewards import (
    SMALLEST_BASELINE,
    exponential_average,
    magnitude,
    piece_mask,
    piece_rewards,
    pieces_of_tokens,
    prefix_kendall_tau,
    reward_to_go,
    rewards_on_tokens,
    score,
    stability,
)


def test_magnitude_falls_with_the_negative_log_likelihood():
    values = magnitude(-4.0 * torch.tensor([[1.0, 0.0, 0.5, 1.0, 2.0]]))
    assert values[0].tolist() == pytest.approx([0.2384, 1.0, 0.5379, 0.2384, 0.0360], abs=1e-4)
    # As the released code writes it.
    n, n_0 = torch.tensor([0.0, 0.3, 5.0]), 4.0
    released = ((n_0 - n) / n_0 - 1).tanh() + 1
    torch.testing.assert_close(magnitude(-torch.cat((torch.tensor([n_0]), n))[None])[0, 1:], released)


def test_shapes_are_checked():
    with pytest.raises(jaxtyping.TypeCheckError, match="responses points"):
        magnitude(torch.zeros(3))
    with pytest.raises(jaxtyping.TypeCheckError, match="responses"):
        piece_rewards(torch.zeros(3, 4), torch.ones(2, dtype=torch.int64))


def test_magnitude_of_an_answer_that_is_certain_from_the_start():
    values = magnitude(torch.tensor([[0.0, 0.0, -SMALLEST_BASELINE]]))
    assert values[0].tolist() == pytest.approx([1.0, 1.0, 1 - math.tanh(1)])


def tau_a(values: list[float]) -> float:
    """The double sum of the paper."""
    n = len(values)
    if n < 2:
        return 0.0
    signs = [
        math.copysign(1, i - j) * ((values[i] > values[j]) - (values[i] < values[j]))
        for i in range(n)
        for j in range(n)
        if i != j
    ]
    return sum(signs) / (n * (n - 1))


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=4))
def test_tau_is_tau_a_of_every_prefix_ties_included(rows):
    ours = prefix_kendall_tau(torch.tensor(rows, dtype=torch.float32))
    for row, taus in zip(rows, ours, strict=True):
        assert taus.tolist() == pytest.approx([tau_a(row[: end + 1]) for end in range(len(row))], abs=1e-6)


@given(st.permutations(range(9)))
def test_without_ties_tau_is_scipys(values):
    ours = prefix_kendall_tau(torch.tensor([values], dtype=torch.float32))[0]
    for end in range(2, len(values) + 1):
        expected = scipy.stats.kendalltau(range(end), values[:end]).statistic
        assert float(ours[end - 1]) == pytest.approx(expected, abs=1e-6)


def test_ties_count_as_pairs_unlike_in_scipys_tau_b():
    values = [0.0, 1.0, 1.0]
    assert float(prefix_kendall_tau(torch.tensor([values]))[0, -1]) == pytest.approx(2 / 3)
    assert scipy.stats.kendalltau(range(3), values).statistic > 0.8


def test_stability_and_its_average():
    rising = torch.tensor([[-4.0, -3.0, -2.0, -1.0], [-1.0, -2.0, -3.0, -4.0], [-1.0, -1.0, -1.0, -1.0]])
    assert stability(rising)[:, -1].tolist() == [1.0, 0.0, 0.5]
    assert stability(rising)[:, 0].tolist() == [0.5] * 3, "one point says nothing"
    averages, expected = exponential_average(rising, 0.99)[0].tolist(), [-4.0]
    for value in rising[0, 1:].tolist():
        expected.append(0.01 * value + 0.99 * expected[-1])
    assert averages == pytest.approx(expected)
    # One dip among rises: the average hides it.
    dip = torch.tensor([[-4.0, -1.0, -1.5]])
    assert stability(dip)[0, -1] == pytest.approx((1 + 1 / 3) / 2)
    assert stability(dip, 0.99)[0, -1] == 1.0


def test_rewards_are_differences_of_neighbours():
    surrogate = torch.tensor([[-4.0, -2.0, -3.0, -1.0], [-4.0, -2.0, 0.0, 0.0], [-4.0, 0.0, 0.0, 0.0]])
    counts = torch.tensor([4, 2, 1])
    total = score(surrogate, weight=0.25).total
    expected = 0.75 * magnitude(surrogate) + 0.25 * stability(surrogate)
    torch.testing.assert_close(total, expected)
    rewards = piece_rewards(total, counts)
    s = total.tolist()
    assert rewards[0].tolist() == pytest.approx([s[0][1], s[0][2] - s[0][1], s[0][3] - s[0][2]])
    assert rewards[1].tolist() == pytest.approx([s[1][1], 0, 0]) and rewards[2].tolist() == [0, 0, 0]
    assert rewards[0, 1] < 0 < rewards[0, 2], "the piece that makes the answer less likely loses"
    from_prompt = piece_rewards(total, counts, from_prompt=True)
    assert from_prompt[0].sum() == pytest.approx(s[0][3] - s[0][0])
    assert torch.equal(from_prompt[:, 1:], rewards[:, 1:])
    assert piece_rewards(total[:, :1], torch.tensor([1, 1, 1])).shape == (3, 0)


def test_rewards_on_tokens_and_reward_to_go():
    rewards = torch.tensor([[1.0, -2.0, 0.0], [4.0, 9.0, 9.0]])
    cuts = torch.tensor([[0, 1, 4, 5], [0, 3, 0, 0]])
    exists = torch.tensor([[True, True, True], [True, False, False]])
    on_tokens = rewards_on_tokens(rewards, cuts, exists, 6)
    assert on_tokens.tolist() == [[1, 0, 0, -2, 0, 0], [0, 0, 4, 0, 0, 0]]
    assert reward_to_go(on_tokens).tolist() == [[-1, -2, -2, -2, 0, 0], [4, 4, 4, 0, 0, 0]]
    assert pieces_of_tokens(cuts[0], 6).tolist() == [0, 1, 1, 1, 2, -1]
    assert pieces_of_tokens(cuts[1, :1], 3).tolist() == [-1, -1, -1]


@pytest.fixture
def batch():
    """Five responses to three prompts, the third prompt with one response, one response without pieces."""
    generator = torch.Generator().manual_seed(3)
    counts = torch.tensor([4, 3, 1, 4, 2])
    cuts = torch.tensor([[0, 2, 3, 6], [0, 1, 5, 0], [0, 0, 0, 0], [0, 1, 2, 3], [0, 4, 0, 0]])
    exists = piece_mask(counts, 3)
    rewards = torch.randn(5, 3, generator=generator) * exists
    mask = torch.ones(5, 7)
    mask[1, 6:] = mask[3, 4:] = 0
    return rewards, cuts, exists, torch.tensor([0, 0, 0, 1, 2]), mask


def expected_rewards(estimator, rewards, exists, groups) -> list[list[float]]:
    """Normalised rewards by plain loops."""
    rows = [[float(r) for r, e in zip(*row, strict=True) if e] for row in zip(rewards, exists, strict=True)]
    result = []
    for number, row in enumerate(rows):
        mates = [i for i, group in enumerate(groups.tolist()) if group == groups[number]]
        if estimator == "reinforce_plus_plus":
            mates = range(len(rows))
        if estimator.startswith("rloo"):
            mates = [i for i in mates if i != number]
        pool = [r for i in mates for r in rows[i]]
        mean = sum(pool) / len(pool) if pool else 0.0
        scale = 1.0
        if estimator in ("grpo", "gae", "reinforce_plus_plus", "grpo_vectorized"):
            variance = sum((r - mean) ** 2 for r in pool) / max(len(pool) - 1, 1)
            scale = math.sqrt(variance) + STD_OFFSET
        result.append([(r - mean) / scale for r in row])
    return result


@pytest.mark.parametrize("estimator", [name for name in NORMALISERS if name != "gae"])
def test_process_advantages_by_plain_loops(batch, estimator):
    rewards, cuts, exists, groups, mask = batch
    ours = process_advantage(estimator, rewards, cuts, exists, groups, mask)
    normal = expected_rewards(estimator, rewards, exists, groups)
    for row in range(5):
        for token in range(7):
            later = [r for j, r in enumerate(normal[row]) if cuts[row, j + 1] - 1 >= token]
            expected = sum(later) if mask[row, token] else 0.0
            assert float(ours[row, token]) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    # The end of thinking is followed by the answer, which has no process advantage.
    assert ours[0, 6] == 0 and ours[4, 4:].eq(0).all() and ours[2].eq(0).all()


@pytest.mark.parametrize("estimator", NORMALISERS)
def test_equal_rewards_and_lone_pieces_give_nothing(batch, estimator):
    rewards, cuts, exists, groups, mask = batch
    values = {"values": torch.zeros(5, 7)} if estimator == "gae" else {}
    equal = process_advantage(estimator, 0.3 * exists, cuts, exists, groups, mask, **values)
    if estimator.startswith("rloo"):
        assert equal[:2].abs().max() < 1e-6, "two prompts have a single scored response, whose baseline is 0"
    else:
        assert equal.abs().max() < 1e-2 if estimator == "gae" else equal.abs().max() < 1e-5


def test_gae_is_verls(batch):
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return

    rewards, cuts, exists, groups, mask = batch
    mask[0, 2] = 0  # a token that the environment wrote
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(5))
    on_tokens = rewards_on_tokens(rewards, cuts, exists, 7) * mask
    theirs, _ = compute_gae_advantage_return(on_tokens, values, mask, gamma=0.9, lam=0.8)
    ours = whitened(generalised_advantage(on_tokens, values, mask, 0.9, 0.8), mask)
    torch.testing.assert_close(ours * mask, theirs * mask, rtol=1e-4, atol=1e-4)
    whole = process_advantage("gae", rewards, cuts, exists, groups, mask, values=values, gamma=0.9, lam=0.8)
    normal = NORMALISERS["gae"](rewards, exists, groups)
    again = whitened(generalised_advantage(rewards_on_tokens(normal, cuts, exists, 7), values, mask, 0.9, 0.8), mask)
    torch.testing.assert_close(whole, again)
    assert whole[mask == 0].eq(0).all()
