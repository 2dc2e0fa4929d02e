"""Gradients: equal to finite differences and to the closed-form scores, and finite in the extremes."""

import numpy as np
import pytest
import torch
from laws.batches import normalised, ragged_batch, same_row
from oracles import concrete, gumbel
from scipy.special import softmax

from verl_softthink.laws import LAWS, Action, Candidates, candidate_log_probs, select_candidates
from verl_softthink.laws.candidates import FilterParameters

# The other laws draw from other noise, and have tests of their own.
TRAINABLE = ["discrete", "gumbel", "concrete", "gumbel_reference"]
SCORES = {"gumbel": gumbel.score_function, "concrete": concrete.score_function}


@pytest.mark.parametrize("name", TRAINABLE)
def test_gradcheck_in_double(name: str) -> None:
    batch = ragged_batch(0, rows=15)
    law = LAWS[name]
    action = law.sample(batch.candidates, batch.parameters, batch.noise)
    logits = batch.other_logits.clone().requires_grad_()

    def density(logits: torch.Tensor) -> torch.Tensor:
        return law.log_prob(action, normalised(logits, batch.candidates.mask), batch.parameters)

    assert torch.autograd.gradcheck(density, logits)
    shown = torch.zeros(15, dtype=torch.int64)

    def token(logits: torch.Tensor) -> torch.Tensor:
        return law.token_log_prob(action, shown, normalised(logits, batch.candidates.mask), batch.parameters)

    assert torch.autograd.gradcheck(token, logits)


@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_score_form(name: str) -> None:
    """d log p / d l_i is (1 - exp(-z_i)) / s for the scores and (1 - K softmax((l - g') / s)_i) / s for the weights."""
    batch = ragged_batch(1)
    action = LAWS[name].sample(batch.candidates, batch.parameters, batch.noise)
    leaf = batch.other_log_probs.requires_grad_()
    LAWS[name].log_prob(action, leaf, batch.parameters).sum().backward()
    assert (leaf.grad[~action.mask] == 0).all()
    for row in range(len(leaf)):
        used = int(action.mask[row].sum())
        expected = SCORES[name](
            action.values[row, :used].numpy(),
            leaf.detach()[row, :used].numpy(),
            float(batch.parameters["noise_scale"][row]),
        )
        np.testing.assert_allclose(leaf.grad[row, :used].numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("normalise_over", ["candidates", "vocabulary"])
@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_gradient_reaches_the_logits(name: str, normalise_over: str) -> None:
    """Through candidate_log_probs: score J, with J the Jacobian of the log-softmax named."""
    generator = torch.Generator().manual_seed(2)
    rollout, theta = torch.randn(12, 20, generator=generator), torch.randn(12, 20, generator=generator)
    candidates = select_candidates(rollout, FilterParameters.uniform(12, top_p=0.6), width=5, fetch=20)
    parameters = LAWS[name].columns(12, tau=0.5, noise_scale=1.5)
    noise = -torch.empty(12, 5).exponential_(generator=generator).log()
    action = LAWS[name].sample(candidates, parameters, noise)
    leaf = theta.clone().requires_grad_()
    log_probs = candidate_log_probs(leaf, action.ids, normalise_over=normalise_over)
    LAWS[name].log_prob(action, log_probs, parameters).sum().backward()
    for row in range(12):
        ids = action.ids[row][action.mask[row]].numpy()
        over = ids if normalise_over == "candidates" else np.arange(20)
        score = SCORES[name](action.values[row, : len(ids)].numpy(), log_probs[row, : len(ids)].detach().numpy(), 1.5)
        expected = np.zeros(20)
        expected[ids] += score
        expected[over] -= score.sum() * softmax(theta[row].double().numpy()[over])
        np.testing.assert_allclose(leaf.grad[row].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gumbel", "concrete", "gumbel_reference"])
def test_one_candidate_gives_no_gradient(name: str) -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(3)).requires_grad_()
    ids = torch.tensor([[2, -1, -1]]).expand(4, 3)
    log_probs = candidate_log_probs(logits, ids, normalise_over="candidates")
    action = LAWS[name].sample(
        Candidates(ids=ids, log_probs=log_probs.detach()),
        LAWS[name].columns(4, tau=0.1),
        torch.tensor([[0.7, 0.0, 0.0]]).expand(4, 3),
    )
    density = LAWS[name].log_prob(action, log_probs, LAWS[name].columns(4, tau=0.1))
    density.sum().backward()
    assert torch.isfinite(density).all() and (logits.grad == 0).all()
    if name == "concrete":  # the simplex is one point, of density 1
        torch.testing.assert_close(density, torch.zeros(4), atol=1e-6, rtol=0.0)


EXTREME = {
    "gap of 1e4": [0.0, -1e4, -2e4],
    "gap of 1e4 among ties": [0.0, 0.0, -1e4],
    "exact ties": [0.0, 0.0, 0.0],
}


@pytest.mark.parametrize("logits", EXTREME.values(), ids=EXTREME.keys())
@pytest.mark.parametrize("tau", [1e-6, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize("name", ["gumbel", "concrete", "gumbel_reference"])
def test_extremes_stay_finite(name: str, tau: float, logits: list[float]) -> None:
    """Rollout and training at the same parameters, float32, whatever the gaps and however small tau."""
    rows = 256
    leaf = same_row(logits, rows).clone().requires_grad_()
    ids = torch.tensor([[0, 1, 2]]).expand(rows, 3)
    log_probs = candidate_log_probs(leaf, ids, normalise_over="candidates")
    noise = -torch.empty(rows, 3).exponential_(generator=torch.Generator().manual_seed(4)).log()
    parameters = LAWS[name].columns(rows, tau=tau)
    action = LAWS[name].sample(Candidates(ids=ids, log_probs=log_probs.detach()), parameters, noise)
    weights = LAWS[name].weights(action, parameters)
    torch.testing.assert_close(weights.sum(-1), torch.ones(rows))
    assert torch.equal(LAWS[name].shown_slot(action, parameters), action.values.argmax(-1))
    density = LAWS[name].log_prob(action, log_probs, parameters)
    density.sum().backward()
    assert torch.isfinite(density).all() and torch.isfinite(leaf.grad).all()
    token = LAWS[name].token_log_prob(action, torch.zeros(rows, dtype=torch.int64), log_probs.detach(), parameters)
    assert torch.isfinite(token).all()


def test_concrete_stays_finite_however_far_the_model_moved() -> None:
    """Its score is bounded by (K - 1) / s; the density of the scores has no such bound."""
    action = Action(ids=torch.tensor([[0, 1, 2]]), values=torch.tensor([[0.3, -1e4, -2e4]]))
    leaf = torch.tensor([[-2e4, -1e4, 0.0]]).requires_grad_()
    density = LAWS["concrete"].log_prob(action, leaf, LAWS["concrete"].columns(1, tau=0.1))
    density.sum().backward()
    assert torch.isfinite(density).all() and leaf.grad.abs().max() <= 2.0
