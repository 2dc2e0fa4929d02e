"""The Gumbel likelihood against Monte Carlo: is ``log_prob`` the density of the draws, and is its gradient right?

python examples/02_gumbel_likelihood.py
"""

import math

import torch

from verl_softthink.laws import Candidates, get_law

torch.manual_seed(0)
DRAWS, WIDTH = 2_000_000, 0.1
# Both laws have the same parameters.
parameters = get_law("gumbel").columns(DRAWS, tau=0.5, noise_scale=1.0)


def draw(law, logits: torch.Tensor, noise: torch.Tensor):
    """One action per row of the noise; all rows share the logits."""
    ids = torch.arange(len(logits)).expand(len(noise), -1)
    return law.sample(Candidates(ids=ids, log_probs=logits.log_softmax(-1).expand(len(noise), -1)), parameters, noise)


def check(what: str, exact: float, estimate: float, error: float) -> None:
    print(f"{what:<46} expected {exact:8.4f}   Monte Carlo {estimate:8.4f} +- {error:.4f}")
    assert abs(exact - estimate) < 4 * error + 1e-3, "four standard errors apart"


# 1. The density at a point: the share of draws in a small square around it. Two candidates, gumbel.
law, logits = get_law("gumbel"), torch.tensor([0.4, -0.6])
scores = draw(law, logits, -(-torch.rand(DRAWS, 2).log()).log()).values
for point in ([0.0, 0.0], [1.0, -1.0], [-0.5, 1.0]):
    inside = ((scores - torch.tensor(point)).abs() < WIDTH / 2).all(-1).double()
    action = type(draw(law, logits, torch.zeros(1, 2)))(ids=torch.tensor([[0, 1]]), values=torch.tensor([point]))
    exact = law.log_prob(action, logits.log_softmax(-1)[None], law.columns(1, tau=0.5, noise_scale=1.0)).exp()
    check(
        f"density of the scores at {point}",
        float(exact),
        float(inside.mean()) / WIDTH**2,
        float(inside.std()) / math.sqrt(DRAWS) / WIDTH**2,
    )

# 2. The policy gradient of a reward that depends on the mixture: score function against a finite difference, both laws.
for name in ("gumbel", "concrete"):
    law, logits = get_law(name), torch.tensor([0.8, 0.0, -0.8])
    noise = -(-torch.rand(DRAWS, 3).log()).log()

    def reward(at: torch.Tensor, law=law, noise=noise) -> torch.Tensor:
        return law.weights(draw(law, at, noise), parameters)[:, 0] ** 2

    step = torch.tensor([0.05, 0.0, 0.0])
    difference = (reward(logits + step) - reward(logits - step)) / 0.1
    leaf = logits.expand(DRAWS, -1).clone().requires_grad_()
    action = draw(law, logits, noise)
    law.log_prob(action, leaf.log_softmax(-1), parameters).sum().backward()
    values = reward(logits)
    score = (values - values.mean()) * leaf.grad[:, 0]
    deviation = float(score.std()) / math.sqrt(DRAWS)
    check(f"gradient of E[w_0^2], {name}", float(difference.mean()), float(score.mean()), deviation)
    print(f"{'  variance of one draw':<46} {float(score.var()):.4f}")
