"""What is done to thoughts, on random ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.evaluation.audit.interventions import cycle, of_other, one_hot, pause, shuffled, uniform
from verl_softthink.evaluation.audit.thought import Thought
from verl_softthink.laws import NO_CANDIDATE, Mixture

WIDTH = 4


@st.composite
def thoughts(draw, shortest: int = 0) -> Thought:
    """Mixtures of 1 to 4 tokens in any slots, with and without drawn embeddings."""
    length, seed = draw(st.integers(shortest, 7)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    ids = torch.rand(length, 10, generator=generator).argsort(-1)[:, :WIDTH]
    used = torch.rand(length, WIDTH, generator=generator) < 0.6
    used[torch.arange(length), torch.randint(WIDTH, (length,), generator=generator)] = True
    weights = torch.where(used, torch.rand(length, WIDTH, generator=generator) + 0.01, 0.0)
    weights = weights / weights.sum(-1, keepdim=True)
    ids = torch.where(used, ids, NO_CANDIDATE)
    shown = ids.gather(-1, weights.argmax(-1, keepdim=True))[:, 0]
    embeddings = {"fed": torch.randn(length, 3), "scale": torch.rand(length)} if draw(st.booleans()) else {}
    return Thought(tokens=shown, mixture=Mixture(ids=ids, weights=weights), **embeddings)


def rows(thought: Thought) -> list[tuple]:
    """Everything about each position, so that positions can be compared and counted."""
    fed = [None] * len(thought) if thought.fed is None else thought.fed.tolist()
    scale = [None] * len(thought) if thought.scale is None else thought.scale.tolist()
    parts = (thought.tokens.tolist(), thought.mixture.ids.tolist(), thought.mixture.weights.tolist(), fed, scale)
    return [tuple(map(str, row)) for row in zip(*parts, strict=True)]


def check(thought: Thought, length: int) -> None:
    """Mixtures of which the shown token is one, and whose weights sum to 1."""
    assert len(thought) == length
    mixture = thought.mixture
    assert ((mixture.ids == thought.tokens[:, None]) & (mixture.weights > 0)).any(-1).all()
    assert not mixture.weights[mixture.ids == NO_CANDIDATE].any() and (mixture.weights >= 0).all()
    torch.testing.assert_close(mixture.weights.sum(-1), torch.ones(length))


@given(thoughts())
@settings(deadline=None)
def test_one_hot_is_the_largest_token(thought):
    changed = one_hot(thought)
    check(changed, len(thought))
    assert changed.fed is None and (changed.mixture.effective_tokens == 1).all()
    for before, after in zip(
        zip(thought.mixture.ids, thought.mixture.weights, strict=True), changed.tokens, strict=True
    ):
        weights = dict(zip(before[0].tolist(), before[1].tolist(), strict=True))
        assert weights[int(after)] == max(weights.values())


@given(thoughts())
@settings(deadline=None)
def test_uniform_keeps_the_tokens_and_evens_their_weights(thought):
    changed = uniform(thought)
    check(changed, len(thought))
    assert torch.equal(changed.mixture.ids, thought.mixture.ids) and torch.equal(changed.tokens, thought.tokens)
    torch.testing.assert_close(changed.mixture.effective_tokens, thought.mixture.tokens.float())
    assert changed.fed is None


@given(thoughts(), st.integers(0, 2**63 - 1))
@settings(deadline=None)
def test_shuffling_moves_every_position_whole(thought, seed):
    changed = shuffled(thought, seed)
    check(changed, len(thought))
    assert sorted(rows(changed)) == sorted(rows(thought))
    assert rows(shuffled(thought, seed)) == rows(changed)


@given(st.integers(0, 40), st.integers(0, 2**63 - 1))
def test_a_cycle_leaves_nothing_in_its_place(count, seed):
    order = cycle(count, seed).tolist()
    assert sorted(order) == list(range(count))
    if count > 1:
        seen, at = [], 0
        while at not in seen:
            seen.append(at)
            at = order[at]
        assert len(seen) == count and all(place != to for place, to in enumerate(order))


def test_cycles_differ_by_seed():
    assert len({tuple(cycle(8, seed).tolist()) for seed in range(50)}) > 40


@given(thoughts(shortest=1), st.integers(0, 20))
@settings(deadline=None)
def test_another_thought_is_cut_or_repeated_to_the_length(other, length):
    changed = of_other(other, length)
    check(changed, length)
    assert rows(changed) == [rows(other)[number % len(other)] for number in range(length)]


def test_an_empty_thought_stands_for_no_other():
    with pytest.raises(ValueError, match="no positions"):
        of_other(pause(3, 0), 4)


def test_pauses_are_one_token():
    changed = pause(5, 4)
    check(changed, 4)
    assert changed.tokens.tolist() == [5] * 4 and (changed.mixture.tokens == 1).all()
