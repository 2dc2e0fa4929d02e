"""Variational reasoning on a model of three thoughts: every expectation is a sum, so gradients meet the exact one.

python examples/06_variational_toy.py
"""

import itertools
import math

import torch
from torch import Tensor

from verl_softthink.methods.variational.weighting import (
    effective_sample_size,
    log_accuracy,
    log_ratio,
    self_normalise,
)

torch.set_default_dtype(torch.float64)
# A question with three thoughts. The last one nearly always leads to the right answer and is hardly ever thought of.
LOGITS = torch.tensor([2.0, 1.0, -2.0])
ACCURACY = torch.tensor([0.02, 0.10, 0.95])  # P(right answer | thought)
model = LOGITS.softmax(-1)
answered = model @ ACCURACY
#: Who proposes thoughts: the model, a posterior that has seen a hint and thinks of the last one, and the exact one.
PROPOSALS = {"model": model, "hinted": torch.tensor([0.2, 0.3, 0.5]), "exact": model * ACCURACY / answered}


def log_rho(thoughts: Tensor, proposal: Tensor, logits: Tensor) -> Tensor:
    """log pi(z) P(right | z) / q(z) of each thought; a thought of one token, so there is no length to divide by."""
    tokens = torch.ones_like(thoughts)
    prior = logits.log_softmax(-1)[thoughts]
    ratio = log_ratio(prior, proposal.log()[thoughts], tokens, share=0.0, length_normalised=False)
    return ratio + log_accuracy(ACCURACY[thoughts])


# 1. One group of four thoughts of the hinted posterior: their weights, and how many thoughts they amount to.
for name, proposal in PROPOSALS.items():
    print(f"{name:7} thinks {[round(p, 3) for p in proposal.tolist()]}")
four = torch.tensor([2, 1, 0, 2])
together = torch.zeros(4, dtype=torch.int64)
weights = self_normalise(log_rho(four, PROPOSALS["hinted"], LOGITS), together)
size = float(effective_sample_size(weights, together))
print(f"\nthoughts {four.tolist()} weigh {[round(w, 3) for w in weights.tolist()]}: effective sample size {size:.2f}")

# 2. What training should climb: log P(right answer), and its gradient.
leaf = LOGITS.clone().requires_grad_()
(exact,) = torch.autograd.grad((leaf.softmax(-1) @ ACCURACY).log(), leaf)
print(f"\nlog P(right) {float(answered.log()):.4f}, its gradient {[round(g, 4) for g in exact.tolist()]}")

# 3. Over all groups of K thoughts: the bound, its gradient sum_k w_k grad log pi(z_k), and the mean effective size.
print(f"\n{'proposal':9} K    bound   effective size   gradient                     of the exact one")
along: dict[tuple[str, int], float] = {}
for (name, proposal), count in itertools.product(PROPOSALS.items(), (1, 2, 4, 8)):
    groups = torch.tensor(list(itertools.product(range(3), repeat=count)))
    chance = proposal[groups].prod(-1)
    number = torch.arange(len(groups)).repeat_interleave(count)
    weights = self_normalise(log_rho(groups.flatten(), proposal, LOGITS), number)
    score = torch.eye(3)[groups] - model  # grad log pi(z)
    gradient = chance @ (weights.view(-1, count, 1) * score).sum(1)

    # The same from the definition of the bound, E log mean_k rho_k, by automatic differentiation.
    leaf = LOGITS.clone().requires_grad_()
    ratios = log_rho(groups.flatten(), proposal, leaf).view(-1, count)
    bound = chance @ (ratios.logsumexp(-1) - math.log(count))
    (defined,) = torch.autograd.grad(bound, leaf)
    torch.testing.assert_close(gradient, defined)

    along[name, count] = float(gradient @ exact / (exact @ exact))
    effective = float(chance @ effective_sample_size(weights, number))
    numbers = "  ".join(f"{g:+.4f}" for g in gradient.tolist())
    print(f"{name:9} {count}  {bound.item():7.4f}   {effective:14.2f}   {numbers}   {along[name, count]:16.2f}")

# More thoughts tighten the bound; who proposes well needs fewer of them, and the exact posterior needs one.
for name in ("model", "hinted"):
    assert abs(along[name, 8] - 1) < abs(along[name, 1] - 1)
assert abs(along["hinted", 2] - 1) < abs(along["model", 2] - 1) and abs(along["exact", 1] - 1) < 1e-12
