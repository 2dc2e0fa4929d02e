"""Every law against its slow reference, row by row, on ragged batches with per-row parameters."""

import numpy as np
import pytest
import torch
from laws.batches import ragged_batch
from oracles import concrete, gumbel, gumbel_reference

from verl_softthink.laws import LAWS, Action, Candidates, LawParameters, get_law

GUMBEL_DRAWS = ["gumbel", "concrete"]


def rows_of(action: Action, *columns: torch.Tensor) -> list[tuple[np.ndarray, ...]]:
    """(values, columns...) of each row, cut to its used slots."""
    used = action.mask.sum(-1).tolist()
    return [tuple(t[row, :count].double().numpy() for t in (action.values, *columns)) for row, count in enumerate(used)]


def scalars(parameters: LawParameters) -> list[tuple[float, float]]:
    return list(zip(parameters["tau"].tolist(), parameters["noise_scale"].tolist(), strict=True))


@pytest.mark.parametrize("name", GUMBEL_DRAWS)
def test_draw_is_the_perturbed_scores(name: str) -> None:
    batch = ragged_batch(0)
    action = LAWS[name].sample(batch.candidates, batch.parameters, batch.noise)
    assert torch.equal(action.ids, batch.candidates.ids)
    assert (action.values[~action.mask] == 0).all()
    weights, shown = LAWS[name].weights(action, batch.parameters), LAWS[name].shown_slot(action, batch.parameters)
    assert (weights[~action.mask] == 0).all()
    drawn = rows_of(action, batch.candidates.log_probs, batch.noise, weights)
    for row, ((values, log_probs, noise, row_weights), (tau, scale)) in enumerate(
        zip(drawn, scalars(batch.parameters), strict=True)
    ):
        expected = gumbel.perturbed_scores(log_probs, noise, scale)
        np.testing.assert_allclose(values, expected, rtol=1e-12)
        np.testing.assert_allclose(row_weights, gumbel.mixture_weights(expected, tau), rtol=1e-9, atol=1e-300)
        assert int(shown[row]) == int(np.argmax(expected))


def test_gumbel_density() -> None:
    batch = ragged_batch(1)
    law = LAWS["gumbel"]
    action = law.sample(batch.candidates, batch.parameters, batch.noise)
    for theta in (batch.candidates.log_probs, batch.other_log_probs):
        actual = law.log_prob(action, theta, batch.parameters).tolist()
        expected = [
            gumbel.log_density(values, log_probs, scale)
            for (values, log_probs), (_, scale) in zip(rows_of(action, theta), scalars(batch.parameters), strict=True)
        ]
        np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_concrete_density() -> None:
    """``log_prob`` plus its Jacobian is the published density of the weights."""
    batch = ragged_batch(2)
    law = LAWS["concrete"]
    action = law.sample(batch.candidates, batch.parameters, batch.noise)
    for theta in (batch.candidates.log_probs, batch.other_log_probs):
        actual = (law.log_prob(action, theta, batch.parameters) + law.log_jacobian(action, batch.parameters)).tolist()
        expected = [
            concrete.log_density_of_scores(values, log_probs, tau, scale)
            for (values, log_probs), (tau, scale) in zip(rows_of(action, theta), scalars(batch.parameters), strict=True)
        ]
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_concrete_density_is_pytorchs() -> None:
    batch = ragged_batch(3, rows=10)
    law = LAWS["concrete"]
    action = law.sample(batch.candidates, batch.parameters, batch.noise)
    weights = law.weights(action, batch.parameters)
    actual = law.log_prob(action, batch.other_log_probs, batch.parameters) + law.log_jacobian(action, batch.parameters)
    for row, (tau, scale) in enumerate(scalars(batch.parameters)):
        used = int(action.mask[row].sum())
        if used == 1 or float(weights[row, :used].min()) < 1e-200:  # PyTorch needs two weights, none of them 0
            continue
        standard = torch.distributions.RelaxedOneHotCategorical(
            torch.tensor(tau / scale, dtype=torch.float64), logits=batch.other_log_probs[row, :used] / scale
        )
        assert float(actual[row]) == pytest.approx(float(standard.log_prob(weights[row, :used])), rel=1e-7, abs=1e-7)


def test_concrete_depends_on_the_weights_alone() -> None:
    """A shift of all scores gives the same weights and the same density; a shift of all l cancels too."""
    batch = ragged_batch(4)
    law = LAWS["concrete"]
    action = law.sample(batch.candidates, batch.parameters, batch.noise)
    shifted = Action(ids=action.ids, values=action.values + 2.5)
    before = law.log_prob(action, batch.other_log_probs, batch.parameters)
    torch.testing.assert_close(law.log_prob(shifted, batch.other_log_probs, batch.parameters), before)
    torch.testing.assert_close(law.log_prob(action, batch.other_log_probs - 1.5, batch.parameters), before)
    # The Gumbel density scores the shift as well.
    by_scores = LAWS["gumbel"].log_prob(action, batch.other_log_probs, batch.parameters)
    moved = LAWS["gumbel"].log_prob(shifted, batch.other_log_probs, batch.parameters)
    assert ((moved - by_scores).abs() > 1e-3).all()


def test_released_arithmetic() -> None:
    batch = ragged_batch(5, rows=60)
    law = LAWS["gumbel_reference"]
    action = law.sample(batch.candidates, batch.parameters, batch.noise)
    assert (batch.noise < -1.5).any() and (batch.noise > 3.0).any()  # both clamps are exercised
    assert (batch.other_log_probs[batch.candidates.mask] < -3.0).any()  # and so is the mask
    actual = law.log_prob(action, batch.other_log_probs, batch.parameters)
    drawn = rows_of(action, batch.candidates.log_probs.exp(), batch.noise, batch.other_log_probs.exp())
    for row, (values, probs, noise, theta) in enumerate(drawn):
        np.testing.assert_allclose(values, gumbel_reference.perturbed_scores(probs, noise), rtol=1e-9)
        assert float(actual[row]) == pytest.approx(gumbel_reference.log_density(values, theta), rel=1e-9)


@pytest.mark.parametrize("name", ["gumbel", "concrete", "gumbel_reference"])
def test_token_log_prob_is_gumbel_max(name: str) -> None:
    batch = ragged_batch(6)
    action = LAWS[name].sample(batch.candidates, batch.parameters, batch.noise)
    for slot in range(batch.candidates.ids.shape[1]):
        slots = torch.full((len(batch.noise),), slot)
        actual = LAWS[name].token_log_prob(action, slots, batch.other_log_probs, batch.parameters)
        for row, (_, scale) in enumerate(scalars(batch.parameters)):
            used = int(batch.candidates.mask[row].sum())
            own_scale = 1.0 if name == "gumbel_reference" else scale
            expected = gumbel.argmax_log_probs(batch.other_log_probs[row, :used].numpy(), own_scale)
            assert float(actual[row]) == pytest.approx(expected[slot] if slot < used else -np.inf, rel=1e-9)


def test_float32_is_as_exact_as_float32_allows() -> None:
    exact, single = ragged_batch(10), ragged_batch(10, dtype=torch.float32)
    for name in (*GUMBEL_DRAWS, "gumbel_reference"):
        law = LAWS[name]
        actions = [law.sample(b.candidates, b.parameters, b.noise) for b in (exact, single)]
        values = [
            law.log_prob(a, b.other_log_probs, b.parameters) for a, b in zip(actions, (exact, single), strict=True)
        ]
        assert values[1].dtype == torch.float32
        torch.testing.assert_close(values[1].double(), values[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", GUMBEL_DRAWS)
def test_log_ratio_is_exact_to_float32(name: str) -> None:
    """At the paper's tau, for candidates tens of nats apart: the PPO ratio sees only what depends on the model."""
    rows, width = 4000, 5
    generator = torch.Generator().manual_seed(13)
    logits = 8.0 * torch.randn(rows, width, generator=generator)
    old = logits.log_softmax(-1)
    new = (logits + 0.01 * torch.randn(rows, width, generator=generator)).log_softmax(-1)
    noise = -torch.empty(rows, width).exponential_(generator=generator).log()
    law, parameters = LAWS[name], LAWS[name].columns(rows, tau=0.1)
    action = law.sample(Candidates(ids=torch.arange(width).expand(rows, width), log_probs=old), parameters, noise)
    ratio = law.log_prob(action, new, parameters) - law.log_prob(action, old, parameters)
    in_double = Action(ids=action.ids, values=action.values.double())
    wide = {"tau": parameters["tau"].double(), "noise_scale": parameters["noise_scale"].double()}
    expected = law.log_prob(in_double, new.double(), wide) - law.log_prob(in_double, old.double(), wide)
    torch.testing.assert_close(ratio.double(), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", [*GUMBEL_DRAWS, "gumbel_reference", "deterministic", "discrete"])
def test_embedding_is_the_weighted_sum(name: str) -> None:
    batch = ragged_batch(11)
    action = LAWS[name].sample(batch.candidates, batch.parameters, batch.noise)
    weights = LAWS[name].weights(action, batch.parameters).double()
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(weights), dtype=torch.float64))
    table = torch.randn(60, 8, generator=torch.Generator().manual_seed(12), dtype=torch.float64)
    mixed = LAWS[name].embed(weights, table[action.ids.clamp(min=0)])
    for row in range(len(weights)):
        expected = sum(float(w) * table[i] for w, i in zip(weights[row], action.ids[row], strict=True) if i >= 0)
        torch.testing.assert_close(mixed[row], expected)


def test_unknown_law_is_refused() -> None:
    with pytest.raises(ValueError, match="'dirichlet_typo' is unknown"):
        get_law("dirichlet_typo")
    assert get_law("gumbel") is LAWS["gumbel"]
