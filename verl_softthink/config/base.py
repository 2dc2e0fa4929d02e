"""What every settings class shares: no unknown keys, no later change, and problems told in one line each."""

import types
from collections.abc import Callable
from typing import Annotated, Generic, TypeVar, Union, get_args, get_origin

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from verl_softthink.config.messages import CHARACTERS, shown
from verl_softthink.laws.parameters import check_fits

#: Problems of one request or recipe that are told; more are counted.
MOST_PROBLEMS = 8


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
        ValueError: listing the problems, the first ``MOST_PROBLEMS`` of them.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        lines = [_explain(problem, prefix, model) for problem in problems[:MOST_PROBLEMS]]
        if (left := len(problems) - len(lines)) > 0:
            lines.append(f"and {left} more problems")
        raise ValueError("\n".join(lines)) from None


def _explain(problem: dict, prefix: str, model: type[Settings]) -> str:
    key = ".".join((prefix, *map(_part, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        group = model
        for part in problem["loc"][:-1]:
            group = _group(group.model_fields[part].annotation)
        return f"{key}={shown(problem['input'])}: unknown key; known keys are {', '.join(group.model_fields)}"
    if problem["type"] == "missing":
        return f"{key} is missing; give it a value"
    return f"{key}={shown(problem['input'])}: {problem['msg'].removeprefix('Value error, ')}"


def _part(part: object) -> str:
    """A part of a key: a name as it is, anything else as a value."""
    return part if isinstance(part, str) and part.isidentifier() and len(part) <= CHARACTERS else shown(part)


def _group(annotation: object) -> type[Settings]:
    """The settings class of a field that is one, or that is one or null."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation
