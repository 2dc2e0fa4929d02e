"""What docstrings refer to exists: modules, names and files in double backticks; the reference is made of them."""

import ast
import re
import warnings
from pathlib import Path

import pytest

import verl_softthink

PACKAGE = Path(verl_softthink.__file__).parent
ROOT = PACKAGE.parent
ROOMS = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_")}
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(.*\))?")
_FILE = re.compile(r"[\w/]+\.(?:py|sh)")
#: Rooms whose names are groups of verl's configuration too, or verl's name of a batch.
_VERLS = {"batch", "data", "rollout"}


def docstrings() -> list[tuple[Path, str]]:
    """Every docstring, and every attribute's documentation that stands as ``#:`` above it."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((path, ast.get_docstring(node) or ""))
        found += [(path, line) for line in re.findall(r"#: (.*)", source)]
    return found


def module_file(parts: list[str]) -> Path | None:
    for file in (PACKAGE.joinpath(*parts).with_suffix(".py"), PACKAGE.joinpath(*parts, "__init__.py")):
        if parts and file.is_file():
            return file
    return None


def resolves(parts: list[str], folder: tuple[str, ...]) -> bool:
    """Whether a dotted name, of the package or of a folder in it, is a module or a name in the text of one."""
    for length in range(len(parts), 0, -1):
        for start in ((), folder):
            file = module_file([*start, *parts[:length]])
            text = file.read_text(encoding="utf-8") if file else None
            if text is not None and all(re.search(rf"\b{name}\b", text) for name in parts[length:]):
                return True
    return False


def exists(reference: str, path: Path) -> bool:
    """Whether a file stands beside the docstring's, in the package, in the checkout, or in some room by that name."""
    places = (path.parent / reference, PACKAGE / reference, ROOT / reference)
    return any(place.exists() for place in places) or any(PACKAGE.rglob(reference))


def broken(path: Path, text: str) -> list[str]:
    found = []
    for reference in re.findall(r"``([^`]+)``", text):
        dotted = _DOTTED.fullmatch(reference)
        if _FILE.fullmatch(reference):
            found += [] if exists(reference, path) else [reference]
        elif dotted:
            parts = dotted[1].split(".")
            whole = parts[0] == PACKAGE.name
            ours = whole or parts[0] in ROOMS - _VERLS
            if ours and not resolves(parts[whole:], path.relative_to(PACKAGE).parts[:-1]):
                found.append(reference)
    return found


def test_every_reference_leads_somewhere():
    found = docstrings()
    wrong = [f"{path.relative_to(ROOT)}: {name}" for path, text in found for name in broken(path, text)]
    assert len(found) > 1000 and wrong == []


@pytest.mark.parametrize("reference", ["laws.base.Low", "methods.registri", "doctor/finding.py", "laws.gumble"])
def test_a_broken_reference_is_seen(reference):
    assert broken(PACKAGE / "trace.py", f"See ``{reference}``.") == [reference]


def test_the_reference_is_built_without_a_warning(tmp_path):
    """Of parts that import neither verl nor vLLM; ``tests/api.sh`` builds the whole."""
    pdoc = pytest.importorskip("pdoc")
    pdoc.render.configure(docformat="google")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc("verl_softthink.laws.gumbel", "verl_softthink.trace", output_directory=tmp_path)
    page = (tmp_path / "verl_softthink" / "laws" / "gumbel.html").read_text(encoding="utf-8")
    assert "log_prob" in page and (tmp_path / "search.js").stat().st_size > 10_000
