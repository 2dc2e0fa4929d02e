"""Soft positions whose draw is an embedding: what they feed, and what their density needs of the table."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from verl_softthink.laws import Action
from verl_softthink.laws.gaussian import mean_embedding, perturb


class DrawnEmbeddings:
    """Drawn embeddings for M positions of one forward pass: constants of the draw, without gradient.

    What is looked up beside the input is for the density's mean, and stays at hand until the logits are there.

    Args:
        index: [M] int64, flattened positions of the input ids.
        lookup: [M, K] ids of the candidates, or [V]: all of the table.
        draw: the action of the positions; without ``fed`` it is rebuilt.
        weights: [M, K] the mean's weights and
        noise: [M, H] its standard normal noise, for drawings that are rebuilt.
    """

    def __init__(
        self,
        index: Tensor,
        lookup: Tensor,
        draw: Action,
        weights: Tensor | None = None,
        noise: Callable[[int], Tensor] | None = None,
    ):
        self.index, self.lookup = index, lookup
        self._draw, self._weights, self._noise = draw, weights, noise
        self.embeddings: Tensor | None = None
        self.action: Action | None = None

    def inputs(self, embeddings: Tensor) -> Tensor:
        """[M, H] what is fed, given the rows looked up, [M, K, H] or [V, H].

        Raises:
            ValueError: when the trace's embeddings are not of this model's width.
        """
        self.embeddings, fed = embeddings, self._draw.fed
        width = embeddings.shape[-1]
        if fed is None:
            mean = mean_embedding(self._weights, embeddings.detach())
            fed = perturb(mean, self._draw.scale, self._noise(width))
        if fed.shape[-1] != width:
            raise ValueError(
                f"a trace holds embeddings of {fed.shape[-1]} numbers, but the model's have {width}: rollout and actor "
                "must share one model"
            )
        fed = fed.to(embeddings.dtype)
        self.action = replace(self._draw, fed=fed)
        return fed
