"""What a law can be set to: each parameter is declared once, and all that asks for it follows from the declaration.

A declaration gives the key under ``softthink.law``, its default, its range and its dtype as a column. The settings of
recipes and requests, the columns of the rollout's state, the record that the likelihood is sent, the report's line and
the table in the documentation are made from it. Laws that share a parameter share the object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

#: A law's parameters for N rows, by name: [N] each. Rows of one batch may differ.
LawParameters = Mapping[str, Tensor]
ParameterValue = float | int | str
#: Least temperature of a softmax. Neighbouring float32 logits around 1 are a nat apart under it, so that it is greedy,
#: and the logits of any model stay finite when they are divided by it, even twice.
SMALLEST_TEMPERATURE = torch.finfo(torch.float32).eps


def check_fits(value: float | int, dtype: torch.dtype) -> None:
    """Check that a table of the dtype can hold a number.

    Raises:
        ValueError: naming the dtype, and its range or what is lost; nan and infinity are in no range.
    """
    limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ValueError(f"it must fit {limits.dtype}, {limits.min:g} to {limits.max:g}")
    if dtype.is_floating_point and value != 0 and torch.tensor(float(value), dtype=dtype) == 0:
        raise ValueError(f"it rounds to 0 in {limits.dtype}; use a larger number")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
        name: key under ``softthink.law``.
        doc: its meaning in one sentence, with the unit.
        default: value where the key is not set or null.
        dtype: of its [N] column, float32 or int64; a choice is represented by its index, in int64. None for a choice
            that the law's formulas do not read.
        at_least, at_most: bounds of a number that it may reach; None for none.
        above: a bound that it must exceed.
        choices: the values of a parameter that is no number.
    """

    name: str
    doc: str
    default: ParameterValue
    dtype: torch.dtype | None = torch.float32
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        allowed = (torch.int64, None) if self.choices else (torch.float32, torch.int64)
        if self.dtype not in allowed:
            raise ValueError(
                f"the parameter {self.name!r} has choices={self.choices} and dtype={self.dtype}; use dtype="
                f"{' or '.join(map(str, allowed))}"
            )
        self.parse(self.default)

    @property
    def range(self) -> str:
        """The values that it may have, in words."""
        if self.choices:
            return " or ".join(self.choices)
        bounds = (("at least", self.at_least), ("above", self.above), ("at most", self.at_most))
        words = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        if self.at_least is not None and self.at_most is not None:
            words = f"from {self.at_least:g} to {self.at_most:g}"
        return f"{'a whole number' if self.dtype == torch.int64 else 'a number'} {words}".rstrip()

    def parse(self, value: object) -> ParameterValue:
        """The value in the declared type.

        Raises:
            ValueError: when it has another type, is out of range, or cannot be represented in the column's dtype.
        """
        if not self._allows(value):
            raise ValueError(f"it must be {self.range}" + ("" if self.choices else f", and fit {self._type_name}"))
        if self.choices:
            return value
        check_fits(value, self.dtype)
        return int(value) if self.dtype == torch.int64 else float(value)

    def number(self, value: ParameterValue) -> float | int:
        """What represents a parsed value in a column."""
        return self.choices.index(value) if self.choices else value

    def column(self, rows: int, value: ParameterValue, device: torch.device | str | None = None) -> Tensor:
        """[rows] the same value in every row."""
        return torch.full((rows,), self.number(value), dtype=self.dtype, device=device)

    @property
    def _type_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def _allows(self, value: object) -> bool:
        if self.choices:
            return isinstance(value, str) and value in self.choices
        integral = self.dtype == torch.int64
        if isinstance(value, bool) or not isinstance(value, Integral if integral else Real):
            return False
        # Written so that nan is in no range.
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
        )
