"""The expected gradient of every estimator, summed over all outcomes of a model with three thoughts."""

import math

import pytest
import torch
from oracles.three_thoughts import RIGHT, ThreeThoughts

from verl_softthink.methods.variational.advantage import advantages, rejection_sampling_advantage
from verl_softthink.methods.variational.weighting import log_accuracy, log_likelihood, log_ratio, self_normalise

POSTERIOR = torch.tensor([0.55, 0.25, 0.2], dtype=torch.float64)
#: Length of each thought.
ONE_TOKEN = torch.ones(3, dtype=torch.int64)
#: Central differences of a smooth function at a step of 1e-5.
TOLERANCE = {"rtol": 1e-6, "atol": 1e-8}


@pytest.fixture(scope="module")
def toy():
    model = ThreeThoughts()
    model.scores = {(z, y): model.score(z, y) for z in range(3) for y in (0, 1)}
    model.thought_scores = {z: model.score(z, None) for z in range(3)}
    return model


def one_group(size: int) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.int64)


def rewards_of(group) -> torch.Tensor:
    return torch.tensor([float(answer == RIGHT) for _, answer in group], dtype=torch.float64)


def on_policy_gradient(toy, size, advantage) -> torch.Tensor:
    """E (1/K) sum_k A_k grad log pi(z_k, y_k), the expectation of verl's policy-gradient loss."""
    pi = toy.log_joint(toy.parameters)[0].exp()

    def value(group):
        return sum(a * toy.scores[outcome] for a, outcome in zip(advantage(group), group, strict=True)) / size

    return toy.expectation(size, pi, value)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_on_policy_multiple(toy, size):
    probability = toy.probability()
    log_likelihood_gradient = toy.gradient(lambda parameters: toy.probability(parameters).log())
    found = on_policy_gradient(toy, size, lambda group: advantages(rewards_of(group), one_group(size)))
    expected = (1 - (1 - probability) ** (size - 1)) * log_likelihood_gradient
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_on_policy_multiple_without_the_control_variate(toy, size):
    probability = toy.probability()
    weights = lambda group: size * self_normalise(log_accuracy(rewards_of(group)), one_group(size))  # noqa: E731
    expected = (1 - (1 - probability) ** size) * toy.gradient(lambda parameters: toy.probability(parameters).log())
    torch.testing.assert_close(on_policy_gradient(toy, size, weights), expected, **TOLERANCE)


@pytest.mark.parametrize("size", [1, 3])
def test_multiple_of_rejection_sampling(toy, size):
    """P, whatever the group."""
    advantage = lambda group: rejection_sampling_advantage(  # noqa: E731
        rewards_of(group)[:, None], torch.ones(size, 1, dtype=torch.float64), None
    )[0][:, 0]
    probability = toy.probability()
    expected = probability * toy.gradient(lambda parameters: toy.probability(parameters).log())
    torch.testing.assert_close(on_policy_gradient(toy, size, advantage), expected, **TOLERANCE)


def test_multiple_of_grpo(toy):
    """E[standard deviation of the group] / (1 - P), which tends to sqrt(P / (1 - P)): what the README compares with."""
    size, probability = 4, toy.probability()

    def advantage(group):
        rewards = rewards_of(group)
        deviation = rewards.std(unbiased=False)
        return (rewards - rewards.mean()) / deviation if deviation > 0 else torch.zeros(size)

    deviation = sum(
        math.comb(size, n) * probability**n * (1 - probability) ** (size - n) * math.sqrt(n / size * (1 - n / size))
        for n in range(size + 1)
    )
    expected = deviation / (1 - probability) * toy.gradient(lambda parameters: toy.probability(parameters).log())
    torch.testing.assert_close(on_policy_gradient(toy, size, advantage), expected, **TOLERANCE)


def answer_terms(toy, estimator: str, parameters) -> torch.Tensor:
    """log c of each thought [3], as the bound itself has it: the right answer is one token long, or a doubled one."""
    right = toy.log_joint(parameters)[1][:, RIGHT]
    return {"accuracy": right, "geometric_mean": right, "product": 2 * right}[estimator]


def estimated_terms(toy, estimator: str) -> torch.Tensor:
    """The same by the package's estimators: the accuracy of very many answers; a reference of two equal tokens."""
    right = toy.log_joint(toy.parameters)[1][:, RIGHT]
    if estimator == "accuracy":
        return log_accuracy(right.exp())
    tokens = right[:, None].expand(3, 2)
    return log_likelihood(tokens, torch.ones(3, 2, dtype=torch.bool), length_normalised=estimator == "geometric_mean")


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("estimator", ["accuracy", "geometric_mean", "product"])
def test_gradient_of_the_bound(toy, estimator, size, share):
    """sum_k w_k grad[log pi(z_k) + log c_k] is the gradient of E log (1/K) sum_k rho_k with the proposal held fixed."""
    pi = toy.log_joint(toy.parameters)[0].detach()
    proposal = share * pi.exp() + (1 - share) * POSTERIOR

    def bound(parameters):
        log_rho = toy.log_joint(parameters)[0] - proposal.log() + answer_terms(toy, estimator, parameters)
        return toy.expectation(
            size, proposal, lambda group: torch.logsumexp(log_rho[[z for z, _ in group]], 0) - math.log(size)
        )

    log_rho = log_ratio(pi, POSTERIOR.log(), ONE_TOKEN, share=share, length_normalised=False) + estimated_terms(
        toy, estimator
    )
    score = [
        toy.thought_scores[z] + toy.gradient(lambda parameters, z=z: answer_terms(toy, estimator, parameters)[z])
        for z in range(3)
    ]

    def value(group):
        weights = self_normalise(log_rho[[z for z, _ in group]], one_group(size))
        return sum(w * score[z] for w, (z, _) in zip(weights, group, strict=True))

    torch.testing.assert_close(toy.expectation(size, proposal, value), toy.gradient(bound), **TOLERANCE)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_true_posterior_gives_the_likelihoods_own_gradient(toy, size):
    """With q(z) = pi(z | right) all ratios are equal: multiple 1 for every K."""
    pi, answer = toy.log_joint(toy.parameters)
    log_posterior = pi + answer[:, RIGHT] - toy.probability().log()
    log_rho = log_ratio(pi, log_posterior, ONE_TOKEN, share=0.0, length_normalised=False) + log_accuracy(
        answer[:, RIGHT].exp()
    )

    def value(group):
        weights = self_normalise(log_rho[[z for z, _ in group]], one_group(size))
        return sum(w * toy.scores[z, RIGHT] for w, (z, _) in zip(weights, group, strict=True))

    found = toy.expectation(size, log_posterior.exp(), value)
    expected = toy.gradient(lambda parameters: toy.probability(parameters).log())
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_sampled_answers_and_groups_without_a_right_one(toy, size):
    """One answer per thought: the gradient of the joint bound over groups with a right answer, 0 for the others."""
    pi, answer = toy.log_joint(toy.parameters)
    thought_ratio = log_ratio(pi, POSTERIOR.log(), ONE_TOKEN, share=0.0, length_normalised=False)

    def value(group):
        log_rho = thought_ratio[[z for z, _ in group]] + log_accuracy(rewards_of(group))
        weights = self_normalise(log_rho, one_group(size))
        return sum(w * toy.scores[outcome] for w, outcome in zip(weights, group, strict=True))

    def bound(parameters):
        log_pi, log_answer = toy.log_joint(parameters)

        def log_mean(group):
            terms = [log_pi[z] + log_answer[z, y] - POSTERIOR[z].log() - answer[z, y] for z, y in group if y == RIGHT]
            return torch.logsumexp(torch.stack(terms), 0) if terms else torch.zeros((), dtype=torch.float64)

        return toy.expectation(size, POSTERIOR, log_mean)

    torch.testing.assert_close(toy.expectation(size, POSTERIOR, value), toy.gradient(bound), **TOLERANCE)
