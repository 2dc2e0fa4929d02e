"""The part of a packed micro-batch that one rank of Ulysses sequence parallelism computes.

verl pads the packed positions to a multiple of the ranks and gives each rank a slice; attention alone exchanges heads
for positions and sees all of them. A soft position is fed by the rank that holds it and scored by the rank that holds
the position before it, which may be another one. Scores are joined as verl joins its own: its gather multiplies the
gradient by the number of ranks, because FSDP averages over them what each has computed for a part of the sequence.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class SequenceSlice:
    """Packed positions ``start`` to ``start + length``.

    Attributes:
        start: the first one.
        length: how many, padding included; the same on every rank.
        padding: positions at the end of the whole batch that belong to no sequence.
    """

    start: int
    length: int
    padding: int

    def holds(self, index: Int64[Tensor, " positions"]) -> Bool[Tensor, " positions"]:
        """[N] bool, which packed positions [N] are in the slice."""
        return (index >= self.start) & (index < self.start + self.length)

    def local(self, index: Int64[Tensor, " positions"]) -> Int64[Tensor, " held"]:
        """[M] int64 indices in the slice, of those packed positions [N] that it holds."""
        return index[self.holds(index)] - self.start

    def column(self, index: Int64[Tensor, " held"], values: Float[Tensor, " held"]) -> Float[Tensor, " {self.length}"]:
        """[length] ``values`` [M] at their indices in the slice, 0 elsewhere."""
        return values.new_zeros(self.length).index_copy(0, index, values)
