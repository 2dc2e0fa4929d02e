"""Every name of verl, vLLM and transformers that the package touches, read from its sources.

Seen are imports, attributes of imported modules and classes, methods that override one of an upstream class, what is
read of or set on ``self`` in such a class, of arguments annotated with one, and of the expressions in ``RECEIVERS``;
and keys of the dictionaries in ``DICTIONARIES``. Private attributes that nothing here defines are seen everywhere.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import verl_softthink
from upstream.receivers import CALLED_BY_NAME, DICTIONARIES, INTERFACES, MODULES, RECEIVERS, TWINS
from upstream.sources import members, origin, source
from verl_softthink.cpu.registrations import REGISTRATIONS as CPU
from verl_softthink.liveness.registrations import REGISTRATIONS as BOUNDED_WAITS
from verl_softthink.methods import registry
from verl_softthink.plugin import REGISTRATIONS
from verl_softthink.upstream.source_scan import own_attributes
from verl_softthink.upstream.symbols import STABLE

PACKAGE = Path(verl_softthink.__file__).parent
UPSTREAM = ("verl", "vllm", "transformers")
Name = tuple[str, str]
_DOTTED = re.compile(rf"({'|'.join(UPSTREAM)})(\.\w+)+")


@dataclass(frozen=True)
class Module:
    """An expression that is an upstream module."""

    name: str


@dataclass(frozen=True)
class Instance:
    """An expression that is an upstream class or one of its objects; ``hidden``: what a class of ours has instead."""

    module: str
    name: str
    hidden: frozenset[str] = frozenset()


@dataclass
class Touched:
    """Names by the file that touches them, and private attributes whose owner is not known."""

    names: dict[Name, str] = field(default_factory=dict)
    #: Attributes that the installed release of their class does not have.
    absent: set[Name] = field(default_factory=set)
    private: dict[str, str] = field(default_factory=dict)
    #: Dotted names of upstream packages in strings, by file.
    strings: dict[str, str] = field(default_factory=dict)


def touched() -> Touched:
    """Of the whole package."""
    found = Touched()
    files = {str(file.relative_to(PACKAGE)): ast.parse(file.read_text("utf-8")) for file in PACKAGE.rglob("*.py")}
    ours = {name for parsed in files.values() for name in _bound(parsed)}
    for path, parsed in sorted(files.items()):
        _File(path, found).visit(parsed)
        for node in ast.walk(parsed):
            if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in ours:
                found.private[node.attr] = path
            elif isinstance(node, ast.Constant) and _DOTTED.fullmatch(str(node.value)):
                found.strings[node.value] = path
    for (path, text), name in CALLED_BY_NAME.items():
        if any(isinstance(node, ast.Constant) and node.value == text for node in ast.walk(files[path])):
            found.names[name] = path
    for name, twin in TWINS.items():
        if name in found.names:
            found.names[twin] = found.names[name]
    return found


class _File(ast.NodeVisitor):
    """Collects the names that one file touches."""

    def __init__(self, path: str, found: Touched):
        self.path, self.found = path, found
        #: What names and expressions are, innermost scope last.
        self.scopes: list[dict[str, Module | Instance]] = [
            {text: _instance(name) for text, name in RECEIVERS.get(path, {}).items()}
        ]
        self.base: Instance | None = None
        dotted = "verl_softthink." + path.removesuffix(".py").replace("/", ".")
        #: Functions that are called with an upstream module.
        self.called_with = {
            function.partition(":")[2]: module
            for module, function in (*REGISTRATIONS, *registry.registrations(), *CPU, *BOUNDED_WAITS)
            if function.partition(":")[0] == dotted
        } | MODULES.get(path, {})

    def touch(self, name: Name) -> None:
        if name[0].partition(".")[0] in UPSTREAM:
            self.found.names.setdefault(name, self.path)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module.partition(".")[0] not in UPSTREAM:
            return
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            if source(submodule) is not None:
                self.scopes[-1][alias.asname or alias.name] = Module(submodule)
            else:
                stable = (node.module, alias.name) in STABLE
                name = (node.module, alias.name) if stable else origin(node.module, alias.name)
                self.touch(name)
                self.scopes[-1][alias.asname or alias.name] = Instance(*name)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            package = alias.name.partition(".")[0]
            if package in UPSTREAM:
                self.scopes[-1][alias.asname or package] = Module(alias.name if alias.asname else package)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [base for base in map(self.resolved, node.bases) if isinstance(base, Instance)]
        if f"class {node.name}" in self.scopes[0]:
            bases.append(self.scopes[0][f"class {node.name}"])
        outer, self.base = self.base, bases[0] if bases else None
        scope: dict[str, Module | Instance] = {}
        if self.base is not None:
            theirs = members(self.base.module, self.base.name)
            own = own_attributes(node)
            if (self.base.module, self.base.name) not in INTERFACES:
                for name in sorted(own & theirs.keys()):
                    if not name.startswith("__"):
                        self.touch(theirs[name])
            scope["self"] = Instance(self.base.module, self.base.name, own)
        self.scopes.append(scope)
        self.generic_visit(node)
        self.scopes.pop()
        self.base = outer

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        scope: dict[str, Module | Instance] = {}
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in arguments:
            annotated = None if argument.annotation is None else self.resolved(argument.annotation)
            if isinstance(annotated, Instance):
                scope[argument.arg] = annotated
        if node.name in self.called_with and self.base is None:
            scope[arguments[0].arg] = Module(self.called_with[node.name])
        scope |= {text: _instance(name) for text, name in RECEIVERS.get(f"{self.path}:{node.name}", {}).items()}
        self.scopes.append(scope)
        self.generic_visit(node)
        self.scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        value = self.resolved(node.value)
        if value is not None and isinstance(node.targets[0], ast.Name):
            self.scopes[-1][node.targets[0].id] = value

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        owner = self.resolved(node.value)
        if isinstance(owner, Module) and isinstance(node.ctx, ast.Store):
            # What is replaced is the name in this module, wherever it comes from.
            self.touch((owner.name, node.attr))
        else:
            self.read(node.value, node.attr)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(attribute)), *_]):
                self.read(owner, attribute)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.generic_visit(node)
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if name in DICTIONARIES:
                self.touch((DICTIONARIES[name], f'{name}["{key}"]'))

    def read(self, owner: ast.expr, attribute: str) -> None:
        match self.resolved(owner):
            case Module(name=module):
                self.touch((module, attribute) if (module, attribute) in STABLE else origin(module, attribute))
            case Instance(module=module, name=name, hidden=hidden):
                if (module, name) in STABLE or attribute in hidden or attribute == "__init__":
                    return
                defined = members(module, name).get(attribute)
                if defined is None:
                    self.found.absent.add((module, f"{name}.{attribute}"))
                else:
                    self.touch(defined)

    def resolved(self, node: ast.expr) -> Module | Instance | None:
        """What an expression is, where that is known."""
        text = ast.unparse(node)
        for scope in reversed(self.scopes):
            if text in scope:
                return scope[text]
        match node:
            case ast.Call(func=ast.Name(id="super")):
                return self.base
            case ast.Constant(value=str(annotation)) if annotation.isidentifier():
                return self.resolved(ast.Name(annotation))
            case ast.Attribute(value=owner, attr=attribute):
                match self.resolved(owner):
                    case Module(name=module):
                        inner = f"{module}.{attribute}"
                        return Module(inner) if source(inner) else Instance(*origin(module, attribute))
        return None


def _instance(name: str) -> Module | Instance:
    module, _, owner = name.partition(":")
    return Instance(*origin(module, owner)) if owner else Module(module)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _bound(parsed: ast.Module) -> Iterator[str]:
    """Names that a file of ours defines or sets."""
    for node in ast.walk(parsed):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
