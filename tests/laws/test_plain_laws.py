"""The two laws without a density of their own: an ordinary token, and the deterministic mixture."""

import math

import pytest
import torch
from laws.batches import ragged_batch

from verl_softthink.laws import LAWS, NO_CANDIDATE, Candidates, candidate_log_probs


def test_discrete_law_is_the_ordinary_token_log_prob() -> None:
    """Section 5 (i), for one position: the values and the gradient of gather(log_softmax)."""
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(32, 11, generator=generator)
    candidates = Candidates(ids=torch.arange(11).expand(32, 11), log_probs=logits.log_softmax(-1))
    noise = -torch.empty(32, 11).exponential_(generator=generator).log()
    law, parameters = LAWS["discrete"], LAWS["discrete"].columns(32)
    action = law.sample(candidates, parameters, noise)
    drawn = (logits + noise).argmax(-1)
    assert torch.equal(action.ids[:, 0], drawn) and (action.ids[:, 1:] == NO_CANDIDATE).all()
    torch.testing.assert_close(law.weights(action, parameters), torch.eye(11)[:1].expand(32, 11))
    assert (law.shown_slot(action, parameters) == 0).all()

    advantage = torch.randn(32, generator=generator)
    leaves = [torch.randn(32, 11, generator=torch.Generator().manual_seed(8)).requires_grad_() for _ in range(2)]
    through_law = law.log_prob(
        action, candidate_log_probs(leaves[0], action.ids, normalise_over="vocabulary"), parameters
    )
    ordinary = leaves[1].log_softmax(-1).gather(-1, drawn[:, None])[:, 0]
    torch.testing.assert_close(through_law, ordinary)
    for log_prob in (through_law, ordinary):
        (advantage * log_prob).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_deterministic_law_feeds_the_renormalised_distribution() -> None:
    batch = ragged_batch(9)
    law = LAWS["deterministic"]
    action = law.sample(batch.candidates, batch.parameters, batch.noise)
    expected = batch.candidates.log_probs.exp()
    torch.testing.assert_close(law.weights(action, batch.parameters), expected)
    assert torch.equal(law.shown_slot(action, batch.parameters), expected.argmax(-1))
    assert {name for name in LAWS if not LAWS[name].trainable} == {"deterministic", "mixture_of_inputs"}


def test_deterministic_weights_sum_to_one_whatever_the_normaliser() -> None:
    """law.normalise_over="vocabulary" hands the law vocabulary log-probabilities, of total mass below 1."""
    logits = torch.tensor([[1.0, 0.5, 0.0, -0.5]])
    ids = torch.tensor([[0, 1]])
    candidates = Candidates(ids=ids, log_probs=candidate_log_probs(logits, ids, normalise_over="vocabulary"))
    parameters = LAWS["deterministic"].columns(1)
    law = LAWS["deterministic"]
    weights = law.weights(law.sample(candidates, parameters, torch.zeros(1, 2)), parameters)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1))


def test_mixture_of_inputs_by_its_formula() -> None:
    batch = ragged_batch(10)
    beta = torch.linspace(0.0, 4.0, len(batch.noise), dtype=torch.float64)
    law, parameters = LAWS["mixture_of_inputs"], {"beta": beta}
    action = law.sample(batch.candidates, parameters, batch.noise)
    weights = law.weights(action, parameters)
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(beta), dtype=torch.float64))
    assert (law.shown_slot(action, parameters) == 0).all()
    for row in range(len(beta)):
        used = int(batch.candidates.mask[row].sum())
        p, b = batch.candidates.log_probs[row, :used].exp(), float(beta[row])
        sampled = int((batch.candidates.log_probs + batch.noise)[row, :used].argmax())
        entropy = float(-(p * p.log()).sum()) / math.log(used) if used > 1 else 0.0
        expected = {}
        for slot in range(used):
            y = float(slot == sampled)
            expected[int(batch.candidates.ids[row, slot])] = (entropy * float(p[slot]) + (b + 1 - entropy) * y) / (
                b + 1
            )
        actual = {int(i): float(w) for i, w in zip(action.ids[row], weights[row], strict=True) if i != NO_CANDIDATE}
        assert actual == pytest.approx(expected, rel=1e-9)
        assert int(action.ids[row, 0]) == int(batch.candidates.ids[row, sampled])
