"""What every settings class shares: no unknown keys, no later change, and problems told in one line each."""

import types
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, le=1)]


class Settings(BaseModel):
    """Unknown keys are errors, and settings never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    reason = problem["msg"].removeprefix("Value error, ")
    shown = problem["input"]
    return f"{key}={shown!r}: {reason}"


def _group(annotation: object) -> type[Settings]:
    """The settings class of a field that is one, or that is one or null."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation
