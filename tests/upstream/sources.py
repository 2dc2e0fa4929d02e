"""What upstream packages define, read from their sources: where a name comes from, and what a class has."""

import ast
import functools
from pathlib import Path

from verl_softthink.upstream.source_scan import names, own_attributes, package_folder


@functools.cache
def source(module: str) -> Path | None:
    """The file of a module; None where there is none."""
    package, *rest = module.split(".")
    folder = package_folder(package)
    if folder is None:
        return None
    path = folder.joinpath(*rest)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file if file.is_file() else None


@functools.cache
def tree(module: str) -> ast.Module:
    """The module's parsed source; an empty one where there is none."""
    file = source(module)
    return ast.parse("" if file is None else file.read_text(encoding="utf-8"))


def imported_from(node: ast.ImportFrom, module: str) -> str:
    """The full name of the module that an import statement in ``module`` names."""
    if not node.level:
        return node.module
    file = source(module)
    package = module.split(".") if file is not None and file.name == "__init__.py" else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


@functools.cache
def origin(module: str, name: str) -> tuple[str, str]:
    """Module and name under which ``module.name`` is defined, as far as import statements tell."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                there = imported_from(node, module)
                if alias.name == "*" and defines(there, name):
                    return origin(there, name)
                if (alias.asname or alias.name) == name:
                    known = source(there) is not None and (there, alias.name) != (module, name)
                    return origin(there, alias.name) if known else (module, name)
    return module, name


@functools.cache
def defines(module: str, name: str) -> bool:
    """Whether a module has the name, its own or through an import."""
    file = source(module)
    return file is not None and (name in names(file) or origin(module, name) != (module, name))


def class_of(module: str, name: str) -> ast.ClassDef | None:
    """The definition of a class, wherever in the module it stands."""
    return next((n for n in ast.walk(tree(module)) if isinstance(n, ast.ClassDef) and n.name == name), None)


@functools.cache
def members(module: str, name: str) -> dict[str, tuple[str, str]]:
    """Attributes of a class and of its instances: each with the module and the "Class.attribute" that defines it."""
    module, name = origin(module, name)
    definition = class_of(module, name)
    if definition is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(definition.bases):
        match base:
            case ast.Name(id=base_name):
                found |= members(module, base_name)
            case ast.Subscript(value=ast.Name(id=base_name)):
                found |= members(module, base_name)
    return found | {attribute: (module, f"{name}.{attribute}") for attribute in own_attributes(definition)}
