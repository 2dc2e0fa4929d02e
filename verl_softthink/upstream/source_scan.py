"""Find out what a package's source files define, without importing it."""

import ast
import functools
import importlib.util
from pathlib import Path


def package_folder(package: str) -> Path | None:
    """Folder of an installed top-level package, or None; the package is not imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def defines(folder: Path, module: str, name: str) -> bool:
    """Whether ``module``'s source under its top-level package's ``folder`` defines a name, as :func:`names` has it."""
    path = folder.joinpath(*module.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return source.is_file() and name in names(source)


@functools.cache
def names(source: Path) -> frozenset[str]:
    """What a source file defines.

    Returns:
        Names bound at the top level; "Class.name" for what a class binds and what its methods set on ``self``; and
        ``name["key"]`` for what is put into a dictionary anywhere in the file.
    """
    found: set[str] = set()
    tree = ast.parse(source.read_text(encoding="utf-8"))
    _collect(tree.body, "", found)
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key)), ctx=ast.Store()):
                found.add(f'{name}["{key}"]')
    return frozenset(found)


@functools.cache
def keys(source: Path, dictionary: str) -> frozenset[str]:
    """Keys of a dictionary that a source file writes out at its top level; none where it does not."""
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        match node:
            case (
                ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys=written))
                | ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=written))
            ) if name == dictionary:
                return frozenset(key.value for key in written if isinstance(key, ast.Constant))
    return frozenset()


def own_attributes(definition: ast.ClassDef) -> frozenset[str]:
    """Names that the body of a class binds, and those that its methods set on ``self``."""
    found: set[str] = set()
    _collect(definition.body, "", found)
    for node in ast.walk(definition):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    return frozenset(found)


def _collect(body: list[ast.stmt], prefix: str, found: set[str]) -> None:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.add(prefix + node.name)
            case ast.ClassDef():
                found.add(prefix + node.name)
                _collect(node.body, f"{prefix}{node.name}.", found)
                found.update(f"{prefix}{node.name}.{name}" for name in own_attributes(node))
            case ast.Import() | ast.ImportFrom():
                found.update(prefix + (alias.asname or alias.name).partition(".")[0] for alias in node.names)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(prefix + item.id for t in targets for item in ast.walk(t) if isinstance(item, ast.Name))
            case ast.If() | ast.Try() | ast.With():
                for field in ("body", "orelse", "finalbody"):
                    _collect(getattr(node, field, []), prefix, found)
                for handler in getattr(node, "handlers", []):
                    _collect(handler.body, prefix, found)
