"""The input embeddings of soft positions, formed inside the model's embedding module.

    e = sum_i w_i E[k_i],   w = law.weights(action)         a law that mixes tokens
    e = the embedding drawn at rollout                      a law that draws one (``gaussian``)
    e = sum_i w_i E[k_i],   w rebuilt from the seed         one that is a mixture with noisy weights

The candidates' ids are appended to the ids that the module is called with, and its output is split again. So the
lookup is the module's own: sharded weights are gathered when FSDP gathers them, tied weights stay tied, a scale that
the module (Gemma) or the model (Granite) applies is applied, and the gradient reaches the table in one piece.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from verl_softthink.laws import Action, Law
from verl_softthink.laws.candidate_noise import drawn_weights
from verl_softthink.laws.gaussian import coordinate_noise, mean_embedding, perturb
from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.likelihood.positions import DrawnPositions


@dataclass(frozen=True)
class Mixtures:
    """Mixtures for M positions of one forward pass.

    Attributes:
        index: [M] int64, flattened positions of the input ids.
        ids: [M, K] int64 candidate ids, ``NO_CANDIDATE`` in unused slots.
        weights: [M, K] float32, constants; 0 in unused slots.
        detach: keep gradients out of the mixtures.
    """

    index: Tensor
    ids: Tensor
    weights: Tensor
    detach: bool

    @property
    def lookup(self) -> Tensor:
        """[M, K] the ids that are looked up beside the input."""
        # Unused slots look up row 0 and weigh it 0.
        return self.ids.clamp(min=0)

    def inputs(self, embeddings: Float[Tensor, "soft slots hidden"]) -> Float[Tensor, "soft hidden"]:
        """[M, H] what is fed, given the rows looked up, [M, K, H]."""
        return Law.embed(self.weights, embeddings.detach() if self.detach else embeddings)


class DrawnEmbeddings:
    """Drawn embeddings for M positions of one forward pass: constants of the draw, without gradient.

    The rows that are looked up beside the input are kept for the density, whose mean is over them.

    Args:
        index: [M] int64, flattened positions of the input ids.
        lookup: [M, K] ids of the candidates, or [V]: all of the table.
        draw: the action of the positions; without ``fed`` it is rebuilt.
        weights: [M, K] the mean's weights, where the draw is rebuilt.
        noise: H to the [M, H] standard normal noise, where the draw is rebuilt.
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


def soft_inputs(
    soft: DrawnPositions, index: Int64[Tensor, " soft"], settings: ScoringSettings, vocabulary: int
) -> Mixtures | DrawnEmbeddings:
    """The inputs of M soft positions, of the kind that the law draws.

    Args:
        soft: the positions.
        index: [M] their flattened positions in the input ids.
        settings: the law.
        vocabulary: V, rows of the table, all of which a mean over the vocabulary takes.
    """
    action, columns = soft.action, settings.columns(index)
    if settings.draws_weights:
        weights = drawn_weights(action, soft.seed, soft.index, columns)
        return Mixtures(index, action.ids, weights, settings.detach_inputs)
    weights = settings.law.weights(action, columns)
    if not settings.law.draws_embedding:
        return Mixtures(index, action.ids, weights, settings.detach_inputs)
    if settings.normalise_over == "vocabulary":
        return DrawnEmbeddings(index, torch.arange(vocabulary, device=index.device), action)
    lookup = action.ids.clamp(min=0)
    if settings.carries_embedding:
        return DrawnEmbeddings(index, lookup, action)
    noise = partial(coordinate_noise, soft.seed, soft.index)
    return DrawnEmbeddings(index, lookup, action, weights, noise)


class SoftInputs:
    """Hooks on an embedding module that replace rows of the next lookup by the inputs of soft positions."""

    def __init__(self, embedding: nn.Module):
        self._embedding = embedding
        self._next: Mixtures | DrawnEmbeddings | None = None
        self._shape: torch.Size | None = None
        embedding.register_forward_pre_hook(self._append_candidates)
        embedding.register_forward_hook(self._mix)

    def is_on(self, embedding: nn.Module) -> bool:
        """Whether the hooks are on ``embedding`` itself, rather than on a module that it wraps."""
        return embedding is self._embedding

    def clear(self) -> None:
        """Drop what an interrupted forward pass left."""
        self._next = None

    def feed(self, mixtures: Mixtures | DrawnEmbeddings) -> None:
        """Use ``mixtures`` in the next lookup.

        Raises:
            IndexError: when a candidate is not in the embedding table.
            ValueError: when the architecture scales its embeddings, from which the rollout drew unscaled.
        """
        size = self._embedding.num_embeddings
        if mixtures.lookup.numel() and mixtures.lookup.max() >= size:
            raise IndexError(
                f"a trace holds token id {int(mixtures.lookup.max())}, but the embedding table has {size} rows: "
                "rollout and actor must share one model"
            )
        if isinstance(mixtures, DrawnEmbeddings) and hasattr(self._embedding, "embed_scale"):
            raise ValueError(
                f"{type(self._embedding).__name__} scales its rows, while the rollout draws embeddings before they are "
                "scaled: the gaussian law does not cover this architecture; use a law that mixes tokens"
            )
        self._next = mixtures

    def require_fed(self) -> None:
        """Check that the forward pass has taken the mixtures.

        Raises:
            RuntimeError: when the model never called its embedding module.
        """
        if self._next is not None:
            self._next = None
            raise RuntimeError(
                "the model did not look its inputs up in get_input_embeddings(), so no mixture was fed: this "
                "architecture is not supported"
            )

    def _append_candidates(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._next is None:
            return None
        (ids,) = arguments
        self._shape = ids.shape
        return (torch.cat((ids.reshape(-1), self._next.lookup.reshape(-1))),)

    def _mix(self, module: nn.Module, arguments: tuple[Tensor, ...], looked_up: Tensor) -> Tensor | None:
        if self._next is None:
            return None
        mixtures, shape = self._next, self._shape
        self._next = self._shape = None
        positions = shape.numel()
        inputs, beside = looked_up[:positions].view(*shape, -1), looked_up[positions:]
        # The table's dtype is the dtype of the mixture in the rollout too; autocast must not choose another.
        with torch.autocast(looked_up.device.type, enabled=False):
            mixed = mixtures.inputs(beside.view(*mixtures.lookup.shape, -1))
        # A new tensor, no view: FSDP 2 attaches its backward hook to what a module returns.
        return inputs.index_put(torch.unravel_index(mixtures.index, shape), mixed)
