"""No module outside ``laws`` decides by a law's name: it asks the law."""

import ast
from pathlib import Path

import verl_softthink
from verl_softthink.laws import LAWS

PACKAGE = Path(verl_softthink.__file__).parent
NAMES = {law.name for law in LAWS.own}
#: In lines with these the word is no law: a way to validate, an argument of attention, a kind of position.
EXCEPTIONS = ("validation: Literal", "rollout.validation ==", '"seq_idx", "deterministic"', '_FLAGS = ("soft", "drawn"')


def decisions(source: str) -> list[int]:
    """Lines with a law's name in a comparison, in a ``case``, or in a list of names to look one up in."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare():
                compared = [node.left, *node.comparators]
            case ast.MatchValue():
                compared = [node.value]
            case ast.Tuple() | ast.List() | ast.Set():
                compared = node.elts
            case _:
                continue
        if any(isinstance(part, ast.Constant) and part.value in NAMES for part in compared):
            found.append(node.lineno)
    return found


def test_the_scan_sees_decisions():
    for line in ('x == "gumbel"', '"gaussian" != x.name', 'x in ("discrete", "other")', 'NAMES = {"multiplex"}'):
        assert decisions(line) == [1], line
    assert decisions('match x:\n    case "dirichlet" | "other":\n        pass') == [2]
    assert decisions('x == "gumbels"; f(law="gumbel"); {"discrete": 1}') == []


def test_no_module_outside_laws_decides_by_a_laws_name():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if PACKAGE / "laws" not in path.parents:
            lines = path.read_text().splitlines()
            places = [(number, lines[number - 1].strip()) for number in decisions("\n".join(lines))]
            places = [place for place in places if not any(exception in place[1] for exception in EXCEPTIONS)]
            found += [f"{path.relative_to(PACKAGE)}:{number}: {line}" for number, line in places]
    assert not found, "\n".join(found)
