"""The house: rooms of the first level in layers, no import of which runs upwards, imports inside functions included."""

import ast
from pathlib import Path

import verl_softthink

ROOT = Path(verl_softthink.__file__).parent
#: From the ground up; a room imports from rooms before it. Rooms of one line do not know each other.
LAYERS = (
    ("errors", "installed"),
    ("laws", "cpu", "liveness", "upstream", "files", "standalone", "pocket", "shipped"),
    ("trace", "data"),
    ("config", "dump"),
    ("thinking", "batch"),
    ("likelihood", "report"),
    ("rollout", "bench"),
    ("methods",),
    ("training", "plugin"),
    ("evaluation", "doctor"),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: level for level, layer in enumerate(LAYERS) for room in layer}
#: Methods of this package: what is outside ``methods`` must not name one.
METHODS = {folder.name for folder in (ROOT / "methods").iterdir() if folder.is_dir() and folder.name != "__pycache__"}


def rooms() -> set[str]:
    return {path.stem for path in ROOT.iterdir() if path.name not in ("__init__.py", "__pycache__")}


def imports() -> list[tuple[Path, list[str]]]:
    """Every import of ours: the file, and the parts of the module's name behind ``verl_softthink``."""
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "verl_softthink":
                parts = node.module.split(".")[1:]
                found += [(file, [*parts, alias.name]) for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name.split(".") for alias in node.names]
                found += [(file, name[1:]) for name in names if name[0] == "verl_softthink"]
    return found


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix("").parts[0]


def test_every_room_stands_in_one_layer():
    assert sorted(LEVEL) == sorted(rooms())
    assert len(LEVEL) == sum(map(len, LAYERS))


def test_no_import_runs_upwards_or_sideways():
    wrong = [
        f"{file.relative_to(ROOT)} imports {'.'.join(parts)}"
        for file, parts in imports()
        if file.parent != ROOT or file.name != "__init__.py"
        if parts and parts[0] in LEVEL and room_of(file) != parts[0] and LEVEL[parts[0]] >= LEVEL[room_of(file)]
    ]
    assert len(imports()) > 500 and wrong == []


def test_cpu_and_liveness_import_nothing_of_ours():
    assert {parts[0] for file, parts in imports() if room_of(file) == "cpu"} == {"cpu"}
    assert {parts[0] for file, parts in imports() if room_of(file) == "liveness"} == {"liveness"}


def test_a_method_is_imported_by_itself_alone():
    wrong = [
        f"{file.relative_to(ROOT)} imports {'.'.join(parts)}"
        for file, parts in imports()
        if parts[:1] == ["methods"] and len(parts) > 1 and parts[1] in METHODS
        if file.relative_to(ROOT).parts[:2] != ("methods", parts[1])
    ]
    assert {"attnrl", "repro", "variational"} <= METHODS and wrong == []
