"""The input embeddings of soft positions, formed inside the model's embedding module.

    e = sum_i w_i E[k_i],   w = law.weights(action)

The candidates' ids are appended to the ids that the module is called with, and its output is taken apart again. So
the lookup is the module's own: sharded weights are gathered when FSDP gathers them, tied weights stay tied, a scale
that the module (Gemma) or the model (Granite) applies is applied, and the gradient reaches the table in one piece.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from verl_softthink.laws import Law
from verl_softthink.likelihood.drawn_embedding import DrawnEmbeddings


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

    def inputs(self, embeddings: Tensor) -> Tensor:
        """[M, H] what is fed, given the rows looked up, [M, K, H]."""
        return Law.embed(self.weights, embeddings.detach() if self.detach else embeddings)


class SoftInputs:
    """Hooks on an embedding module that replace the rows of the next forward pass by mixtures."""

    def __init__(self, embedding: nn.Module):
        self._embedding = embedding
        self._next: Mixtures | DrawnEmbeddings | None = None
        self._shape: torch.Size | None = None
        embedding.register_forward_pre_hook(self._append_candidates)
        embedding.register_forward_hook(self._mix)

    def is_on(self, embedding: nn.Module) -> bool:
        """Whether the hooks are on that very module, so that nothing wraps the lookup."""
        return embedding is self._embedding

    def clear(self) -> None:
        """Forget what an interrupted forward pass has left."""
        self._next = None

    def feed(self, mixtures: Mixtures | DrawnEmbeddings) -> None:
        """Use ``mixtures`` in the next lookup.

        Raises:
            IndexError: when a candidate is not in the embedding table.
            ValueError: when the architecture does not look up what the rollout drew from.
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
        # A new tensor, no view: FSDP 2 hangs its backward hook on what a module returns.
        return inputs.index_put(torch.unravel_index(mixtures.index, shape), mixed)
