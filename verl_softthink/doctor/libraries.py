"""Libraries that come along with torch and break it: each is imported in a process of its own."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable

from verl_softthink.doctor.findings import Finding, failure, ok

CHECK = "libraries"
#: Their ordinary wheels are CUDA builds, which next to a CPU torch fail on import and take transformers with them.
COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
_SECONDS = 120
#: FlashAttention is built against the torch that is installed, so not in pip's isolated build.
INSTALL_FLASH_ATTENTION = "pip install --no-build-isolation 'verl-softthink[flash-attn]'"


def start_import(name: str) -> Callable[[], Finding]:
    """Start ``import name`` in a fresh process; calling the result waits for it."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import {name}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )

    def finding() -> Finding:
        try:
            _, errors = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return failure(CHECK, f"`import {name}` takes longer than {_SECONDS} s: pip uninstall -y {name}.")
        if process.returncode == 0:
            return ok(CHECK, f"{name} imports.")
        reason = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        return failure(
            CHECK,
            f"`import {name}` fails ({reason}), which breaks `import transformers`: its build does not fit the "
            f"installed torch. Nothing here needs it: pip uninstall -y {name}.",
        )

    return finding


def installed_companions() -> list[str]:
    """Those of ``COMPANIONS`` that can be found."""
    return [name for name in COMPANIONS if importlib.util.find_spec(name) is not None]
