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
    """Whether ``module``'s source under its top-level package's ``folder`` defines "name" or "Class.name"."""
    path = folder.joinpath(*module.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return source.is_file() and name in names(source)


@functools.cache
def names(source: Path) -> frozenset[str]:
    """Names bound at the top level of a source file, and "Class.name" for each class body."""
    found: set[str] = set()
    _collect(ast.parse(source.read_text(encoding="utf-8")).body, "", found)
    return frozenset(found)


def _collect(body: list[ast.stmt], prefix: str, found: set[str]) -> None:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.add(prefix + node.name)
            case ast.ClassDef():
                found.add(prefix + node.name)
                _collect(node.body, f"{prefix}{node.name}.", found)
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
