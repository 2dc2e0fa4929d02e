"""Settings of an engine's soft requests on the device: one row a slot, written in one piece and read in one piece.

A step of a small model is a few hundred launches, so that a launch for every setting would be felt.
"""

from collections.abc import Collection

import torch
from jaxtyping import Int64
from torch import Tensor

from verl_softthink.laws import LAWS, FilterParameters, LawParameters
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.to_device import to_device

#: Columns of int64.
INTEGERS = (
    "law",
    "over_vocabulary",
    "carries_embedding",
    "seed",
    "top_k",
    "max_topk",
    "budget",
    "cold_length",
    "answer_prefix_length",
    "answer_budget",
    "stop",
    "switches",
    "switch_window",
    "marker_length",
    "text_marker",
)
#: Columns of float32.
NUMBERS = ("temperature", "top_p", "min_p", "cold_entropy")
#: What rows without a soft request read, whose phase stays in its answer; 0 where nothing is said.
_ORDINARY = {"top_k": 1, "max_topk": 1, "temperature": 1.0}


class SettingsTable:
    """Settings [R] of R slots.

    Args:
        rows: R, the last of them for batch rows without a soft request.
        device: where the table lives.
    """

    def __init__(self, rows: int, device: torch.device):
        self._rows, self._device = rows, device
        self._integers = _filled(rows, INTEGERS, torch.int64, device)
        self._numbers = _filled(rows, NUMBERS, torch.float32, device)
        #: Parameters of the laws, [R] by name. A law's appear with its first request; a row whose law does not have
        #: a parameter holds some valid value.
        self.parameters: dict[str, Tensor] = {}

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return sum(table.nbytes for table in (self._integers, self._numbers, *self.parameters.values()))

    def write(self, slot: int, request: SoftRequest, text_marker: int) -> None:
        """Set a slot's settings.

        Args:
            text_marker: number of the request's text marker among the engine's.
        """
        values = vars(request) | {
            "law": LAWS.number(request.law),
            "over_vocabulary": request.normalise_over == "vocabulary",
            "carries_embedding": request.carries_embedding,
            "answer_prefix_length": len(request.answer_prefix),
            "marker_length": len(request.marker),
            "text_marker": text_marker,
        }
        for table, names in ((self._integers, INTEGERS), (self._numbers, NUMBERS)):
            row = torch.tensor([values[name] for name in names], dtype=table.dtype)
            table[slot] = to_device(row, self._device)
        for parameter in LAWS[request.law].parameters:
            if parameter.dtype is None:
                continue
            if parameter.name not in self.parameters:
                self.parameters[parameter.name] = parameter.column(self._rows, parameter.default, self._device)
            self.parameters[parameter.name][slot] = parameter.number(request.parameters[parameter.name])

    def read(self, slots: Int64[Tensor, " rows"], parameters: Collection[str]) -> "RowSettings":
        """The settings of N batch rows, and the named parameters of laws."""
        integers = self._integers.index_select(0, slots).unbind(-1)
        numbers = self._numbers.index_select(0, slots).unbind(-1)
        return RowSettings(
            dict(zip(INTEGERS + NUMBERS, integers + numbers, strict=True)),
            {name: self.parameters[name].index_select(0, slots) for name in parameters},
        )


class RowSettings:
    """Settings of N batch rows.

    Attributes:
        parameters: of the laws, [N] by name.
    """

    def __init__(self, columns: dict[str, Tensor], parameters: LawParameters):
        self._columns, self.parameters = columns, parameters

    def __getitem__(self, name: str) -> Tensor:
        """[N] int64 or float32, one of ``INTEGERS`` and ``NUMBERS``."""
        return self._columns[name]

    def has_law(self, name: str) -> Tensor:
        """[N] bool, rows of a law."""
        return self["law"] == LAWS.number(name)

    @property
    def over_vocabulary(self) -> Tensor:
        """[N] bool, rows whose log-probs are normalised over the vocabulary."""
        return self["over_vocabulary"].bool()

    @property
    def filter(self) -> FilterParameters:
        """Candidate filters; a step divides its logits by the temperature once for all."""
        return FilterParameters(
            temperature=None,
            top_k=self["top_k"],
            top_p=self["top_p"],
            min_p=self["min_p"],
            max_topk=self["max_topk"],
        )


def _filled(rows: int, names: tuple[str, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[rows, len(names)], every row that of an ordinary request."""
    row = torch.tensor([_ORDINARY.get(name, 0) for name in names], dtype=dtype, device=device)
    return row.repeat(rows, 1)
