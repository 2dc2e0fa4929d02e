"""What thoughts are fed: jitter by its formula, and the draws of every law."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.config.settings import FilterSettings, LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE
from verl_softthink.training.soft_sft.feeding import Fed, drawn, jittered, merged
from verl_softthink.training.soft_sft.settings import JitterSettings

VOCABULARY, DRAWS = 11, 20_000
MIXING = [law.name for law in LAWS.own if not law.draws_embedding]


def targets(thoughts: int, slots: int, seed: int) -> Fed:
    """Random distributions over one to ``slots`` tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randperm(VOCABULARY, generator=generator)[:slots] for _ in range(thoughts)])
    used = torch.arange(slots) < torch.randint(1, slots + 1, (thoughts, 1), generator=generator)
    weights = (torch.rand(thoughts, slots, generator=generator) + 0.05).masked_fill(~used, 0.0)
    return Fed(ids.masked_fill(~used, NO_CANDIDATE), weights / weights.sum(-1, keepdim=True))


def dense(fed: Fed) -> torch.Tensor:
    """[N, V] the weight of every token."""
    return torch.zeros(len(fed.ids), VOCABULARY).scatter_add_(1, fed.ids.clamp(min=0), fed.weights)


def assert_mixtures(fed: Fed):
    torch.testing.assert_close(fed.weights.sum(-1), torch.ones(len(fed.ids)))
    for row in fed.ids.tolist():
        used = [token for token in row if token != NO_CANDIDATE]
        assert used and len(set(used)) == len(used)
    assert (fed.weights[fed.ids == NO_CANDIDATE] == 0).all()


@settings(max_examples=60, deadline=None)
@given(
    thoughts=st.integers(1, 6),
    slots=st.integers(1, 5),
    sigma=st.floats(0, 3),
    leak=st.floats(0, 0.9),
    leak_slots=st.integers(1, 12),
    seed=st.integers(0, 999),
)
def test_jitter_gives_mixtures(thoughts, slots, sigma, leak, leak_slots, seed):
    clean = targets(thoughts, slots, seed)
    jitter = JitterSettings(sigma=sigma, leak=leak, leak_slots=leak_slots)
    fed = jittered(clean, jitter, torch.Generator().manual_seed(seed))
    assert_mixtures(fed)
    before = dense(clean)
    assert (dense(fed)[:, ~(before > 0).any(0)] == 0).all(), "mass leaks to candidates of other thoughts alone"
    assert (torch.where(before > 0, 0.0, dense(fed)).sum(-1) <= leak + 1e-6).all()
    if sigma == 0 and leak == 0:
        torch.testing.assert_close(dense(fed), before)


def test_jitter_by_its_formula():
    """Log-ratios are normal around the target's with variance 2 sigma^2; on average half of the most leaks."""
    ids, weights = torch.tensor([[3, 7]]).expand(DRAWS, 2), torch.tensor([[0.8, 0.2]]).expand(DRAWS, 2)
    fed = jittered(Fed(ids, weights), JitterSettings(sigma=0.5, leak=0.0), torch.Generator().manual_seed(0))
    ratio = (fed.weights[:, 0] / fed.weights[:, 1]).log()
    assert ratio.mean().item() == pytest.approx(math.log(4), abs=0.02)
    assert ratio.std().item() == pytest.approx(0.5 * 2**0.5, rel=0.03)
    # Another thought's candidate 5 makes three tokens for mass to leak to.
    other = torch.tensor([[5, NO_CANDIDATE]]), torch.tensor([[1.0, 0.0]])
    both = Fed(torch.cat((ids, other[0])), torch.cat((weights, other[1])))
    leaked = dense(jittered(both, JitterSettings(sigma=0.0, leak=0.3), torch.Generator().manual_seed(0)))[:-1, 5]
    assert leaked.mean().item() == pytest.approx(0.3 / 2 / 3, rel=0.03)
    assert leaked.max().item() <= 0.1


@pytest.mark.parametrize("name", MIXING)
def test_every_law_feeds_mixtures_of_used_slots(name):
    law, keeps_all = LawSettings(name=name), FilterSettings(top_k=0, top_p=1.0, max_topk=VOCABULARY)
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(50, VOCABULARY, generator=generator)
    ids = torch.arange(VOCABULARY).expand(50, -1)
    fed = drawn(ids, logits, law, keeps_all, torch.Generator().manual_seed(1))
    assert_mixtures(fed)
    # Unused slots between the others, as targets with few candidates and a leak have them.
    ids = torch.cat((ids[:, :5], torch.full((50, 4), NO_CANDIDATE), ids[:, 5:]), -1)
    gaps = torch.cat((logits[:, :5], torch.full((50, 4), -torch.inf), logits[:, 5:]), -1)
    assert_mixtures(drawn(ids, gaps, law, keeps_all, torch.Generator().manual_seed(1)))
    again = drawn(ids, gaps, law, keeps_all, torch.Generator().manual_seed(2))
    assert torch.allclose(dense(again), dense(fed)) == LAWS[name].certain(law.parameters)


@pytest.mark.parametrize(
    ("name", "parameters"), [("dirichlet", {"concentration": 3.0}), ("multiplex", {"draws": 4}), ("discrete", {})]
)
def test_laws_whose_mean_is_the_target(name, parameters):
    logits = torch.tensor([0.5, -1.0, 0.0, 1.5]).expand(DRAWS, -1)
    ids = torch.tensor([9, 2, 4, 0]).expand(DRAWS, -1)
    law, keeps_all = LawSettings(name=name, **parameters), FilterSettings(top_k=0, top_p=1.0, max_topk=4)
    mean = dense(drawn(ids, logits, law, keeps_all, torch.Generator().manual_seed(0))).mean(0)
    expected = torch.zeros(VOCABULARY).scatter_(0, ids[0], logits[0].softmax(-1))
    torch.testing.assert_close(mean, expected, atol=0.015, rtol=0)


def test_the_filter_is_the_rollouts():
    logits, ids = torch.tensor([[3.0, 2.0, 1.0, -torch.inf, 0.0]]), torch.tensor([[8, 6, 1, NO_CANDIDATE, 2]])
    fed = drawn(ids, logits, None, FilterSettings(top_k=3, top_p=0.9, max_topk=3), torch.Generator())
    assert fed.ids.tolist() == [[8, 6, NO_CANDIDATE]]
    torch.testing.assert_close(fed.weights[0, :2], torch.tensor([3.0, 2.0]).softmax(-1))


def test_slots_of_one_token_are_merged_and_mixtures_replaced():
    fed = merged(torch.tensor([[4, 2, 4, NO_CANDIDATE]]), torch.tensor([[0.25, 0.25, 0.5, 0.0]]))
    assert fed.ids.tolist() == [[4, 2, NO_CANDIDATE, NO_CANDIDATE]]
    assert fed.weights.tolist() == [[0.75, 0.25, 0.0, 0.0]]
    two = Fed(torch.tensor([[1], [2]]), torch.ones(2, 1))
    other = Fed(torch.tensor([[3, 4], [5, 6]]), torch.full((2, 2), 0.5))
    mixed = two.replaced(torch.tensor([False, True]), other)
    assert mixed.ids.tolist() == [[1, NO_CANDIDATE], [5, 6]]
    assert mixed.weights.tolist() == [[1.0, 0.0], [0.5, 0.5]]
