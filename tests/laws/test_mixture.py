"""Mixtures with one weight a token, against dictionaries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, Action, Candidates, Mixture

SLOTS = 6


@st.composite
def slots(draw) -> list[list[tuple[int, float]]]:
    """Rows of (id, weight), ids repeated often, some slots unused, weights that sum to 1."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        ids = draw(st.lists(st.sampled_from([NO_CANDIDATE, 0, 1, 2, 2**31 - 1]), min_size=SLOTS, max_size=SLOTS))
        ids[draw(st.integers(0, SLOTS - 1))] = 7
        shares = draw(st.lists(st.floats(0.01, 1), min_size=SLOTS, max_size=SLOTS))
        total = math.fsum(share for token, share in zip(ids, shares, strict=True) if token != NO_CANDIDATE)
        rows.append([(token, share / total) for token, share in zip(ids, shares, strict=True)])
    return rows


def dictionary(row: list[tuple[int, float]]) -> dict[int, float]:
    """Token -> weight, in the order of their first slots."""
    weights: dict[int, float] = {}
    for token, weight in row:
        if token != NO_CANDIDATE:
            weights[token] = weights.get(token, 0.0) + weight
    return weights


@given(slots())
@settings(max_examples=200, deadline=None)
def test_slots_of_one_token_are_one_token(rows):
    ids = torch.tensor([[token for token, _ in row] for row in rows])
    # What an unused slot weighs, even nothing that is a number, does not count.
    weights = torch.tensor([[weight for _, weight in row] for row in rows], dtype=torch.float64)
    mixture = Mixture.of_slots(ids, weights.masked_fill(ids == NO_CANDIDATE, torch.nan))
    for number, row in enumerate(rows):
        expected = dictionary(row)
        first = {token: [one for one, _ in row].index(token) for token in expected}
        assert mixture.ids[number].tolist() == [
            token if first.get(token) == slot else NO_CANDIDATE for slot, (token, _) in enumerate(row)
        ]
        for slot in range(SLOTS):
            token = int(mixture.ids[number, slot])
            assert float(mixture.weights[number, slot]) == pytest.approx(expected.get(token, 0.0))
        assert int(mixture.tokens[number]) == len(expected)
        assert float(mixture.effective_tokens[number]) == pytest.approx(1 / sum(w * w for w in expected.values()))
        assert float(mixture.entropy[number]) == pytest.approx(-sum(w * math.log(w) for w in expected.values()))
        assert float(mixture.top_weight[number]) == pytest.approx(max(expected.values()))


@pytest.mark.parametrize("law", sorted(LAWS))
def test_every_laws_mixture_holds_each_token_once_and_feeds_the_same(law):
    settings = LawSettings(name=law)
    rows, vocabulary, width = 64, 9, 6
    generator = torch.Generator().manual_seed(0)
    log_probs = (2 * torch.randn(rows, vocabulary, generator=generator)).log_softmax(-1)
    kept = vocabulary if LAWS[law].whole_vocabulary else width
    ids = torch.arange(vocabulary).expand(rows, -1)[:, :kept].clone()
    candidates = Candidates(ids=ids, log_probs=log_probs[:, :kept].log_softmax(-1))
    noise = LAWS[law].noise(torch.arange(rows), torch.zeros(rows, dtype=torch.int64), candidates, width)
    action = LAWS[law].sample(candidates, settings.columns(rows), noise)
    mixture = LAWS[law].mixture(action, settings.columns(rows))
    held = torch.nn.functional.one_hot(action.ids.clamp(min=0), vocabulary).float()
    merged = torch.nn.functional.one_hot(mixture.ids.clamp(min=0), vocabulary).float()
    weights = LAWS[law].weights(action, settings.columns(rows)).masked_fill(~action.mask, 0.0)
    torch.testing.assert_close(
        torch.einsum("nk,nkv->nv", mixture.weights, merged), torch.einsum("nk,nkv->nv", weights, held)
    )
    assert all(len(set(row)) == len(row) for row in ([i for i in r if i >= 0] for r in mixture.ids.tolist()))
    assert (mixture.tokens <= action.mask.sum(-1)).all() and (mixture.effective_tokens <= mixture.tokens + 1e-4).all()


def test_three_draws_of_one_token_are_one_token():
    law = LawSettings(name="multiplex")
    action = Action(ids=torch.tensor([[5, 5, 5], [5, 6, 5]]), values=torch.zeros(2, 3))
    mixture = LAWS[law.name].mixture(action, law.columns(2))
    assert mixture.tokens.tolist() == [1, 2]
    torch.testing.assert_close(mixture.effective_tokens, torch.tensor([1.0, 1 / (4 / 9 + 1 / 9)]))
    torch.testing.assert_close(mixture.top_weight, torch.tensor([1.0, 2 / 3]))
