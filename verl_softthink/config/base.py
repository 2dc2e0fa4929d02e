"""What every settings class shares: no unknown keys, no later change, and problems told in one line each."""

import reprlib
import types
from collections.abc import Callable
from typing import Annotated, Generic, TypeVar, Union, get_args, get_origin

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from verl_softthink.laws.parameters import check_fits

#: Digits of a whole number that a message shows; Python refuses to print one of thousands.
_DIGITS = 40
#: Characters of a key, and of a text in a value, that a message shows.
_LONGEST_KEY, _LONGEST_TEXT = 100, 200
#: Entries of a list or a group that a message shows.
_ENTRIES = 20


def _held_as(dtype: torch.dtype) -> AfterValidator:
    """Refuses numbers that a table of the dtype cannot hold."""

    def check(value: float | int) -> float | int:
        check_fits(value, dtype)
        return value

    return AfterValidator(check)


#: Numbers that end in a table of that type; a bool, or the text of a number, is none.
Int64 = Annotated[int, Field(strict=True), _held_as(torch.int64)]
Float32 = Annotated[float, Field(strict=True), _held_as(torch.float32)]
PositiveFloat = Annotated[Float32, Field(gt=0)]
Probability = Annotated[Float32, Field(gt=0, le=1)]


class Settings(BaseModel):
    """Unknown keys are errors, and settings never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Parsed = TypeVar("Parsed")


class ParsedOnce(Generic[Parsed]):
    """Parses a node of the configuration once a process: verl makes an agent loop for every response anew.

    Args:
        parse: from the node to what is kept of it.
    """

    def __init__(self, parse: Callable[[object], Parsed]):
        self._parse = parse
        self._node: object = None
        self._parsed: Parsed | None = None

    def __call__(self, node: object) -> Parsed:
        """What the node says; the same object as for the call before if it is the same node."""
        if node is not self._node:
            self._parsed, self._node = self._parse(node), node
        return self._parsed


def parse(model: type[Settings], values: dict, prefix: str) -> Settings:
    """Validate ``values``, turning every problem into one line that names the key, the value and the fix.

    Raises:
        ValueError: listing all problems.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(problem, prefix, model) for problem in error.errors())) from None


def _explain(problem: dict, prefix: str, model: type[Settings]) -> str:
    key = ".".join((prefix, *(f"{part!s:.{_LONGEST_KEY}}" for part in problem["loc"])))
    if problem["type"] == "extra_forbidden":
        group = model
        for part in problem["loc"][:-1]:
            group = _group(group.model_fields[part].annotation)
        return f"{key}={shown(problem['input'])}: unknown key; known keys are {', '.join(group.model_fields)}"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{key}={shown(problem['input'])}: {reason}"


class _Shown(reprlib.Repr):
    """A value in a message: itself, or its beginning and its end where it is long."""

    def __init__(self):
        super().__init__()
        self.maxstring = self.maxother = _LONGEST_TEXT
        self.maxdict = self.maxlist = _ENTRIES

    def repr_int(self, value: int, level: int) -> str:
        if abs(value) < 10**_DIGITS:
            return repr(value)
        return f"<a whole number of {value.bit_length()} bits>"


_SHOWN = _Shown()


def shown(value: object) -> str:
    """A value as a message shows it."""
    return _SHOWN.repr(value)


def _group(annotation: object) -> type[Settings]:
    """The settings class of a field that is one, or that is one or null."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation
