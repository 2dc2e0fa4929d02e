"""Every error text that the page of troubleshooting is keyed by stands in the package's sources."""

import ast
import re
from pathlib import Path

import pytest

import verl_softthink

PAGE = Path(__file__).parents[2] / "recipes" / "TROUBLESHOOTING.md"
HEADINGS = re.findall(r"^### (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
#: What stands for a value, in a heading and in a text read from the sources.
GAP = "…"


def texts() -> list[str]:
    """Every string of the package, placeholders of f-strings replaced by gaps; docstrings are none that is raised."""
    found = []
    for path in Path(verl_softthink.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(p.value if isinstance(p, ast.Constant) else GAP for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                found.append(node.value)
    return found


TEXTS = texts()


def says(text: str, heading: str) -> bool:
    """Whether a text holds what stands between the gaps of a heading, in its order."""
    return re.search(".*".join(map(re.escape, heading.split(GAP))), text, re.DOTALL) is not None


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_text_is_one_of_ours(heading):
    text = re.fullmatch(r"(`+)(.*)\1", heading)[2]
    assert len(text) > 20
    assert any(says(source, text) for source in TEXTS), "no message says so"


def test_there_are_headings_and_a_foreign_text_is_seen():
    assert len(HEADINGS) >= 20 and len(TEXTS) > 1000
    assert not any(says(source, "CUDA error: … launch failure") for source in TEXTS)
