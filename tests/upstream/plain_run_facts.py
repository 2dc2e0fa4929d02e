"""Run by test_plain_run.py, with and without the plugin: prints what the hooked modules of verl hold, as JSON.

The arguments are names of modules. Everything that a module or one of its classes holds is described: functions by name
and code, classes by name, and entries of registries one by one.
"""

import hashlib
import importlib
import json
import sys
from types import CodeType, FunctionType, ModuleType

from verl_softthink.cpu import distribution

#: Attributes of a module that the import system sets.
_MACHINERY = ("__builtins__", "__cached__", "__loader__", "__spec__")


def described(value: object) -> object:
    """A description that is equal in two processes for equal things."""
    if isinstance(value, classmethod | staticmethod):
        return described(value.__func__)
    if isinstance(value, property):
        return [described(part) for part in (value.fget, value.fset)]
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__} {digest(value.__code__)}"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, dict):
        return {str(key): described(part) for key, part in value.items()}
    return type(value).__qualname__


def held(module: ModuleType) -> dict[str, object]:
    """Descriptions of what a module holds, a class that it defines with its attributes."""
    found = {}
    for key, value in vars(module).items():
        if key in _MACHINERY:
            continue
        found[key] = described(value)
        if isinstance(value, type) and value.__module__ == module.__name__:
            found[key] = {"class": found[key]} | {name: described(part) for name, part in vars(value).items()}
    return found


def digest(code: CodeType) -> str:
    """Of the instructions and of the names and plain constants in them."""
    plain = [constant for constant in code.co_consts if isinstance(constant, str | int | float | bytes | None)]
    inner = [digest(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    text = repr((code.co_code, code.co_names, code.co_varnames, plain, inner))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def main(names: list[str]) -> dict:
    # On a CPU vLLM's distribution has another name, under which verl's rollout does not look for it.
    distribution.register(None)
    import verl  # noqa: F401  (loads the plugin, if it may)

    return {name: held(importlib.import_module(name)) for name in names}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])) + "\n")
