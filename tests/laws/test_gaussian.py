"""The Gaussian law: density, gradients, scale of the noise, limits and unbiasedness."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from laws.batches import same_row
from oracles import gaussian as oracle
from oracles import quadrature
from oracles.monte_carlo import deviation
from scipy.special import softmax
from scipy.stats import chisquare, kstest

from verl_softthink.laws import LAWS, Action, Candidates, FilterParameters, candidate_log_probs, select_candidates
from verl_softthink.laws.gaussian import check_scale, coordinate_noise, mean_embedding, perturb, root_mean_square

LAW = LAWS["gaussian"]
ROWS, VOCABULARY, WIDTH = 12, 20, 6
MIXTURES = ["candidates", "vocabulary"]


def table(rows: int = VOCABULARY, width: int = WIDTH, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def operands(mixture: str, logits: torch.Tensor, ids: torch.Tensor, embeddings: torch.Tensor):
    """(log-probs, embeddings) as the law takes them."""
    if mixture == "vocabulary":
        return logits.log_softmax(-1), embeddings
    return logits.gather(-1, ids).log_softmax(-1), embeddings[ids]


@pytest.fixture
def drawn():
    """Logits of a rollout and of another model, candidates, and draws with a scale per row."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(ROWS, VOCABULARY, generator=generator, dtype=torch.float64)
    ids = select_candidates(logits, FilterParameters.uniform(ROWS, max_topk=4), width=4, fetch=4).ids
    scale = 0.05 + torch.rand(ROWS, generator=generator, dtype=torch.float64)
    fed = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    return logits, Action(ids=ids, values=torch.zeros(ROWS, 4), fed=fed, scale=scale)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_density_is_the_normal_density_but_for_its_constant(drawn, mixture):
    logits, action = drawn
    embeddings = table()
    density = LAW.log_prob(action, *_with_parameters(operands(mixture, logits, action.ids, embeddings)))
    for row in range(ROWS):
        ids = action.ids[row].numpy() if mixture == "candidates" else np.arange(VOCABULARY)
        mean = oracle.mean(logits[row, ids].numpy(), embeddings[ids].numpy(), 1.0)
        sigma = float(action.scale[row])
        constant = -0.5 * WIDTH * np.log(2 * np.pi * sigma**2)
        expected = oracle.log_density(action.fed[row].numpy(), mean, sigma) - constant
        assert float(density[row]) == pytest.approx(expected, rel=1e-10)


def _with_parameters(pair):
    log_probs, embeddings = pair
    return log_probs, {}, embeddings


@pytest.mark.parametrize("mixture", MIXTURES)
def test_gradient_reaches_logits_and_table(drawn, mixture):
    logits, action = drawn

    def density(logits, embeddings):
        return LAW.log_prob(action, *_with_parameters(operands(mixture, logits, action.ids, embeddings)))

    assert torch.autograd.gradcheck(density, (logits.requires_grad_(), table().requires_grad_()))


def test_gradient_is_the_published_one(drawn):
    """((h~ - h)^T dh) / sigma^2."""
    logits, action = drawn
    leaf, embeddings = logits.clone().requires_grad_(), table()
    LAW.log_prob(action, leaf.log_softmax(-1), {}, embeddings).sum().backward()
    for row in range(ROWS):
        p = logits[row].softmax(-1).numpy()
        jacobian = np.diag(p) - np.outer(p, p)
        residual = action.fed[row].numpy() - p @ embeddings.numpy()
        expected = jacobian @ embeddings.numpy() @ residual / float(action.scale[row]) ** 2
        np.testing.assert_allclose(leaf.grad[row].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_unused_slots_weigh_nothing():
    ids = torch.tensor([[3, 5, -1]])
    log_probs = torch.tensor([[0.25, 0.75, 0.0]], dtype=torch.float64).log()
    embeddings = table()[ids.clamp(min=0)].requires_grad_()
    action = Action(ids=ids, values=torch.zeros(1, 3), fed=torch.ones(1, WIDTH), scale=torch.ones(1))
    LAW.log_prob(action, log_probs, {}, embeddings).backward()
    assert (embeddings.grad[0, 2] == 0).all() and embeddings.grad[0, :2].abs().min() > 0


def test_half_precision_tables_are_summed_in_float32_however_many_rows(monkeypatch):
    monkeypatch.setattr("verl_softthink.laws.gaussian.TABLE_ROWS", 7)
    half = table().bfloat16()
    probs = torch.rand(3, VOCABULARY, generator=torch.Generator().manual_seed(2)).softmax(-1)
    mean = mean_embedding(probs, half)
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean, (probs.double() @ half.double()).float())


def test_noise_is_standard_normal_and_a_function_of_its_counters():
    seed, index = torch.arange(2000), torch.arange(2000) * 3
    noise = coordinate_noise(seed, index, 64)
    assert noise.dtype == torch.float32
    assert kstest(noise.double().numpy().ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(noise[:, :8].double().numpy().T)[np.triu_indices(8, k=1)]
    assert np.abs(correlation).max() < 5.0 / np.sqrt(2000)
    # Alone, in another batch, with more coordinates: the same numbers.
    assert torch.equal(coordinate_noise(seed[7:8], index[7:8], 100)[0, :64], noise[7])


@pytest.mark.parametrize("gamma", [0.1, 0.33, 3.0])
def test_noise_is_gamma_embeddings_long(gamma):
    embeddings = table(rows=500, width=48)
    sigma = gamma * float(root_mean_square(embeddings))
    check_scale(sigma, embeddings, gamma)
    noise = perturb(torch.zeros(4000, 48), torch.full((4000,), sigma), coordinate_noise(*2 * [torch.arange(4000)], 48))
    assert float(noise.norm(dim=-1).mean()) == pytest.approx(gamma * float(embeddings.norm(dim=-1).mean()), rel=0.02)


def test_the_wrong_reading_of_the_scale_is_refused():
    """An RMS of vector lengths makes the noise sqrt(d) times too long."""
    embeddings = table(rows=500, width=48)
    wrong = 0.33 * float(embeddings.square().sum(-1).mean().sqrt())
    with pytest.raises(ValueError, match=r"softthink\.law\.gamma=0\.33"):
        check_scale(wrong, embeddings, 0.33)
    with pytest.raises(ValueError, match="zeros or numbers that are not finite"):
        check_scale(0.0, torch.zeros(4, 4), 0.33)


def test_fuzzy_without_noise_feeds_the_argmax():
    """Temperature 1e-4 and sigma 0: the discrete limit of the input, whatever the mean is over."""
    generator = torch.Generator().manual_seed(3)
    # No two logits nearer than what temperature 1e-4 tells apart.
    logits = 0.05 * torch.stack([torch.randperm(VOCABULARY, generator=generator) for _ in range(64)]).float()
    candidates = select_candidates(logits / 1e-4, FilterParameters.uniform(64, max_topk=5), width=5, fetch=5)
    embeddings = table().float()
    action = LAW.sample(candidates, LAW.columns(64), torch.zeros(64, 5))
    expected = embeddings[logits.argmax(-1)]
    by_candidates = LAW.embed(LAW.weights(action, {}), embeddings[candidates.ids.clamp(min=0)])
    torch.testing.assert_close(by_candidates, expected)
    torch.testing.assert_close(mean_embedding((logits / 1e-4).softmax(-1), embeddings), expected)
    torch.testing.assert_close(perturb(expected, torch.zeros(64), torch.randn(64, WIDTH)), expected)
    assert torch.equal(candidates.ids.gather(1, LAW.shown_slot(action, {})[:, None])[:, 0], logits.argmax(-1))


def test_without_noise_the_draw_is_certain():
    action = Action(
        ids=torch.zeros(2, 1).long(), values=torch.zeros(2, 1), fed=torch.ones(2, 3), scale=torch.tensor([0.0, 1.0])
    )
    log_probs = torch.zeros(2, 1).requires_grad_()
    density = LAW.log_prob(action, log_probs, {}, torch.zeros(2, 1, 3))
    assert density.tolist() == [0.0, -1.5]
    density.sum().backward()
    assert torch.isfinite(log_probs.grad).all()


def test_a_density_needs_the_draw():
    action = Action(ids=torch.zeros(1, 1).long(), values=torch.zeros(1, 1))
    with pytest.raises(ValueError, match="give action.fed"):
        LAW.log_prob(action, torch.zeros(1, 1), {})


THETA = np.array([0.9, 0.2, -0.5])
TOY = np.array([[0.8, -0.3], [-0.5, 0.9], [0.4, 0.6]])


def smooth(fed: np.ndarray) -> np.ndarray:
    return np.sin(2 * fed[:, 0]) + 0.5 * fed[:, 0] * fed[:, 1] - fed[:, 1] ** 2


@pytest.mark.parametrize("temperature, sigma", [(0.5, 0.3), (1.0, 0.6)])
def test_unbiased(temperature, sigma):
    """E[R d log p] is the gradient of E[R], in the logits and in the table of a toy with three tokens."""
    rows = 300_000
    scale = torch.full((rows,), sigma)
    logits, embeddings = same_row(THETA.tolist(), rows), torch.tensor(TOY, dtype=torch.float32)
    mean = mean_embedding((logits / temperature).softmax(-1), embeddings)
    fed = perturb(mean, scale, coordinate_noise(torch.arange(rows), torch.full((rows,), 5), 2))
    action = Action(ids=torch.zeros(rows, 1).long(), values=torch.zeros(rows, 1), fed=fed, scale=scale)
    leaf = logits.clone().requires_grad_()
    log_probs = candidate_log_probs(leaf / temperature, torch.arange(3).expand(rows, 3), normalise_over="vocabulary")
    LAW.log_prob(action, log_probs, {}, embeddings).sum().backward()
    samples = smooth(fed.double().numpy())[:, None] * leaf.grad.double().numpy()

    def expected(theta: np.ndarray) -> float:
        return oracle.expected_reward(oracle.mean(theta, TOY, temperature), sigma, smooth)

    truth = quadrature.gradient(expected, THETA)
    assert np.abs(deviation(samples, truth)).max() < 3.0
    assert np.abs(deviation(samples, 0.9 * truth)).max() > 3.0


def drawn_tokens(logits: torch.Tensor, name: str, seed: int = 5) -> tuple[Action, dict, torch.Tensor]:
    """Actions of three candidates whose shown token is drawn as ``name`` says, and the shown slots."""
    rows = len(logits)
    ids = torch.arange(3).expand(rows, 3)
    candidates = Candidates(ids=ids, log_probs=logits.log_softmax(-1))
    parameters = LAW.columns(rows, shown=name)
    noise = LAW.noise(torch.arange(rows), torch.full((rows,), seed), candidates, 3)
    action = LAW.sample(candidates, parameters, noise)
    return action, parameters, LAW.shown_slot(action, parameters)


def test_the_shown_token_is_the_likeliest_or_drawn_from_the_candidates():
    logits = same_row(THETA.tolist(), 40_000)
    likeliest, parameters, slot = drawn_tokens(logits, "likeliest")
    assert (likeliest.ids.gather(1, slot[:, None]) == 0).all()
    assert (LAW.token_log_prob(likeliest, slot, logits.log_softmax(-1), parameters) == 0).all()
    sampled, parameters, slot = drawn_tokens(logits, "sampled")
    shown = sampled.ids.gather(1, slot[:, None])[:, 0]
    assert chisquare(shown.bincount(), 40_000 * softmax(THETA)).pvalue > 1e-3
    # Each row holds the same candidates with their log-probabilities, the shown one first.
    assert torch.equal(sampled.ids.sort(-1).values, likeliest.ids)
    torch.testing.assert_close(sampled.values, logits.log_softmax(-1).gather(-1, sampled.ids))
    log_probs = logits.log_softmax(-1).gather(-1, sampled.ids)
    torch.testing.assert_close(LAW.token_log_prob(sampled, slot, log_probs, parameters), sampled.values[:, 0])
    # Over the vocabulary or among the candidates: the same, for it was drawn among them.
    torch.testing.assert_close(LAW.token_log_prob(sampled, slot, log_probs - 1.3, parameters), sampled.values[:, 0])


def test_the_shown_token_does_not_depend_on_the_embeddings_noise():
    rows = 20_000
    action, _, slot = drawn_tokens(torch.zeros(rows, 3), "sampled")
    shown = action.ids.gather(1, slot[:, None])[:, 0].double().numpy()
    noise = coordinate_noise(torch.arange(rows), torch.full((rows,), 5), 8).double().numpy()
    correlation = [np.corrcoef(shown, coordinate)[0, 1] for coordinate in noise.T]
    assert np.abs(correlation).max() < 4 / np.sqrt(rows)


@pytest.mark.parametrize("scored", ["both", "embedding"])
def test_unbiased_with_a_sampled_token(scored):
    """A reward of embedding and token: its gradient needs the log-probabilities of both."""
    rows, sigma, bonus = 300_000, 0.4, np.array([1.0, -0.5, 0.3])
    logits, embeddings = same_row(THETA.tolist(), rows), torch.tensor(TOY, dtype=torch.float32)
    action, parameters, slot = drawn_tokens(logits, "sampled")
    scale = torch.full((rows,), sigma)
    noise = coordinate_noise(torch.arange(rows), torch.full((rows,), 5), 2)
    fed = perturb(mean_embedding(logits.softmax(-1), embeddings), scale, noise)
    action = replace(action, fed=fed, scale=scale)
    leaf = logits.clone().requires_grad_()
    log_probs = candidate_log_probs(leaf, action.ids, normalise_over="candidates")
    log_prob = LAW.log_prob(action, log_probs, parameters, embeddings[action.ids])
    if scored == "both":
        log_prob = log_prob + LAW.token_log_prob(action, slot, log_probs, parameters)
    log_prob.sum().backward()
    shown = action.ids.gather(1, slot[:, None])[:, 0].numpy()
    rewards = smooth(fed.double().numpy()) * bonus[shown]
    samples = rewards[:, None] * leaf.grad.double().numpy()

    def expected(theta: np.ndarray) -> float:
        return oracle.expected_reward(oracle.mean(theta, TOY, 1.0), sigma, smooth) * float(softmax(theta) @ bonus)

    worst = np.abs(deviation(samples, quadrature.gradient(expected, THETA))).max()
    assert worst < 3.0 if scored == "both" else worst > 10.0
