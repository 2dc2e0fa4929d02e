"""Run by test_plain_run.py, with and without the plugin: prints what the hooked modules of verl hold, as JSON.

The arguments are names of modules. Everything that a module or one of its classes defines or imports is described:
functions by name and code, classes by name and attributes, and entries of registries one by one.
"""

import hashlib
import importlib
import json
import sys
from types import CodeType, FunctionType

from verl_softthink.cpu import distribution


def described(value: object, own_module: str) -> object:
    """A description that is equal in two processes for equal things."""
    if isinstance(value, classmethod | staticmethod):
        return described(value.__func__, own_module)
    if isinstance(value, property):
        return [described(part, own_module) for part in (value.fget, value.fset)]
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__} {digest(value.__code__)}"
    if isinstance(value, type):
        name = f"{value.__module__}.{value.__qualname__}"
        if value.__module__ != own_module:
            return name
        return {"class": name} | {key: described(part, own_module) for key, part in vars(value).items()}
    if isinstance(value, dict):
        return {str(key): described(part, own_module) for key, part in value.items()}
    return type(value).__qualname__


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

    modules = [importlib.import_module(name) for name in names]
    hidden = ("__builtins__", "__cached__", "__loader__", "__spec__")
    return {
        module.__name__: {
            key: described(value, module.__name__) for key, value in vars(module).items() if key not in hidden
        }
        for module in modules
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])) + "\n")
