"""What every settings class shares: no unknown keys, no later change, and problems told in one line each."""

import types
from collections.abc import Callable
from typing import Annotated, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, le=1)]


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
    key = ".".join((prefix, *(str(part) for part in problem["loc"])))
    if problem["type"] == "extra_forbidden":
        group = model
        for part in problem["loc"][:-1]:
            group = _group(group.model_fields[part].annotation)
        return f"{key}={problem['input']!r}: unknown key; known keys are {', '.join(group.model_fields)}"
    if problem["type"] == "missing":
        return f"{key} is missing; give it a value"
    reason = problem["msg"].removeprefix("Value error, ")
    shown = problem["input"]
    return f"{key}={shown!r}: {reason}"


def _group(annotation: object) -> type[Settings]:
    """The settings class of a field that is one, or that is one or null."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation
