"""Names of metrics as the source writes them, found without running it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import verl_softthink

ROOT = Path(verl_softthink.__file__).parent
_NAME = re.compile(r"softthink/[\w/*]*")


def written_names() -> set[str]:
    """Every text of the package that is a name under ``softthink/``, or a prefix of names, ending in "/".

    In an f-string, constants of the package are filled in, and "*" stands for everything else.
    """
    trees = {_module(path): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")}
    constants = {module: _constants(tree) for module, tree in trees.items()}
    found: set[str] = set()
    for module, tree in trees.items():
        known = dict(constants[module])
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in constants:
                imported = constants[node.module]
                known |= {item.asname or item.name: imported[item.name] for item in node.names if item.name in imported}
        found.update(text for text in _texts(tree, known) if _NAME.fullmatch(text))
    return found


def _module(path: Path) -> str:
    return ".".join((ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts under names of their own at the top of a module."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _texts(node: ast.AST, known: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        parts = (part.value for part in node.values)
        yield "".join(
            part if isinstance(part, str) else known.get(part.id, "*") if isinstance(part, ast.Name) else "*"
            for part in parts
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _texts(child, known)
