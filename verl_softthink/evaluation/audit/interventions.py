"""What is done to a thought: pure functions from a thought of L positions to another of L positions.

Each takes away one thing and leaves the rest: the other tokens of a mixture (``one_hot``), their weights
(``uniform``), the order of the positions (``shuffled``), the problem that was thought about (``of_other``), all of it
but the number of positions (``pause``). Where embeddings were drawn, one-hot and uniform thoughts are mixtures, without
the noise.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from verl_softthink.evaluation.audit.thought import Thought
from verl_softthink.laws import NO_CANDIDATE, Mixture


def one_hot(thought: Thought) -> Thought:
    """Each mixture replaced by its largest token, which is then the one shown; the first of equally large ones."""
    largest = thought.mixture.weights.argmax(-1, keepdim=True)
    ids = thought.mixture.ids.gather(-1, largest)
    return Thought(tokens=ids[:, 0], mixture=Mixture(ids=ids, weights=torch.ones(ids.shape)))


def uniform(thought: Thought) -> Thought:
    """The same tokens in each mixture, with equal weights."""
    held = thought.mixture.ids != NO_CANDIDATE
    mixture = replace(thought.mixture, weights=held.float() / held.sum(-1, keepdim=True))
    return Thought(tokens=thought.tokens, mixture=mixture)


def shuffled(thought: Thought, seed: int) -> Thought:
    """The same mixtures in another order, in which each stands elsewhere if there are two or more."""
    return thought.take(cycle(len(thought), seed))


def of_other(other: Thought, length: int) -> Thought:
    """The first ``length`` mixtures of another thought, which begins again where it is shorter.

    Raises:
        ValueError: when the other thought is empty.
    """
    if not len(other):
        raise ValueError("the other thought has no positions: take one that has")
    return other.take(torch.arange(length) % len(other))


def pause(token: int, length: int) -> Thought:
    """``length`` times the same token."""
    tokens = torch.full((length,), token, dtype=torch.int64)
    return Thought(tokens=tokens, mixture=Mixture(ids=tokens[:, None], weights=torch.ones(length, 1)))


def cycle(count: int, seed: int) -> Int64[Tensor, " count"]:
    """[count] a random permutation of one cycle, so that nothing keeps its place if there are two or more."""
    order = np.random.default_rng(seed).permutation(count)
    permutation = np.empty(count, dtype=np.int64)
    permutation[order] = np.roll(order, 1)
    return torch.from_numpy(permutation)
