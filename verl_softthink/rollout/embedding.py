"""What a soft step asks of the input embedding, and the plain answer for a table on one device."""

from typing import Protocol

import torch
from torch import Tensor

from verl_softthink.laws.gaussian import mean_embedding, root_mean_square


class InputEmbedding(Protocol):
    """The input embedding of the model under generation."""

    width: int
    dtype: torch.dtype

    def mean(self, ids: Tensor, weights: Tensor) -> Tensor:
        """[R, H] float32 weighted sums: ids [R, K], weights [R, K] float32."""

    def vocabulary_mean(self, probs: Tensor) -> Tensor:
        """[N, H] float32 weighted sums over the whole table: probs [N, V] float32."""

    def root_mean_square(self) -> Tensor:
        """sqrt(mean of E^2) over the table's entries, a float32 scalar."""


class TableEmbedding:
    """A table [V, H] held whole."""

    def __init__(self, table: Tensor):
        self._table = table
        self.width, self.dtype = table.shape[1], table.dtype

    def mean(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums of rows."""
        return mean_embedding(weights, self._table[ids])

    def vocabulary_mean(self, probs: Tensor) -> Tensor:
        """Weighted sums of all rows."""
        return mean_embedding(probs, self._table)

    def root_mean_square(self) -> Tensor:
        """Over all entries."""
        return root_mean_square(self._table)
