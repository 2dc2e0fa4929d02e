"""A model with three thoughts and two answers, small enough to write every expectation as a sum over all outcomes.

Answer 1 is right. The parameters are the logits of the thoughts and, for each thought, of the answers. A group is a
tuple of K outcomes (thought, answer), and expectations sum over all 6^K groups.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

THOUGHTS, ANSWERS, RIGHT = 3, 2, 1


class ThreeThoughts:
    def __init__(self, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.parameters = torch.randn(THOUGHTS * (1 + ANSWERS), generator=generator, dtype=torch.float64)

    def log_joint(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """log pi(z) [3] and log pi(y | z) [3, 2]."""
        thoughts, answers = parameters[:THOUGHTS], parameters[THOUGHTS:].view(THOUGHTS, ANSWERS)
        return thoughts.log_softmax(0), answers.log_softmax(1)

    def probability(self, parameters: Tensor | None = None) -> Tensor:
        """P(right | x)."""
        thought, answer = self.log_joint(self.parameters if parameters is None else parameters)
        return (thought.exp() * answer[:, RIGHT].exp()).sum()

    def gradient(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Central finite differences at the parameters."""
        step = 1e-5
        rows = torch.eye(len(self.parameters), dtype=torch.float64) * step
        return torch.stack(
            [(function(self.parameters + row) - function(self.parameters - row)) / (2 * step) for row in rows]
        )

    def score(self, thought: int, answer: int | None) -> Tensor:
        """grad log pi(z, y), or grad log pi(z) without an answer, by finite differences."""

        def log_prob(parameters: Tensor) -> Tensor:
            thoughts, answers = self.log_joint(parameters)
            return thoughts[thought] + (0 if answer is None else answers[thought, answer])

        return self.gradient(log_prob)

    def expectation(self, size: int, proposal: Tensor, value: Callable[[tuple], Tensor]) -> Tensor:
        """Sum over all groups of ``size`` outcomes drawn from proposal(z) pi(y | z) of probability times ``value``."""
        joint = proposal[:, None] * self.log_joint(self.parameters)[1].exp()
        outcomes = list(itertools.product(range(THOUGHTS), range(ANSWERS)))
        total = 0.0
        for group in itertools.product(outcomes, repeat=size):
            probability = 1.0
            for thought, answer in group:
                probability = probability * joint[thought, answer]
            total = total + probability * value(group)
        return total
