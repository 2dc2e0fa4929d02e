"""Run every check and collect what they say."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from verl_softthink.doctor.findings import Finding, Status, failure, warning
from verl_softthink.doctor.libraries import installed_companions, start_import
from verl_softthink.doctor.switches import switch_findings
from verl_softthink.doctor.versions import version_findings

#: Bounds of one probe in seconds: imports, and engines.
_QUICK_SECONDS, _DEEP_SECONDS = 300, 600
DEFAULT_MARKER = "</think>"


def examine(*, model: str | None, overrides: list[str], deep: bool) -> list[Finding]:
    """Everything the doctor knows.

    Args:
        model: checkpoint whose tokenizer is looked at, and which ``deep`` runs; none, and the pocket reasoner.
        overrides: verl's command line; its configuration is checked when there is one.
        deep: start a Ray worker and a vLLM engine.
    """
    findings = version_findings() + switch_findings()
    if any(finding.status is Status.failure for finding in findings):
        return [*findings, warning("doctor", "The other checks wait until this is mended: they would fail with it.")]
    # Concurrently: each is mostly the import of verl or transformers.
    probes = [start_probe("platform")]
    if model is not None:
        probes.append(start_probe("marker", model=model))
    if overrides:
        probes.append(start_probe("configuration", overrides=overrides))
    imports = [start_import(name) for name in installed_companions()]
    for finish in imports:
        findings.append(finish())
    for finish in probes:
        findings += finish()
    if deep:
        from verl_softthink.pocket import checkpoint_path

        engine_model = model or str(checkpoint_path())
        findings += start_probe("registrations", process="the driver")()
        findings += start_probe("Ray worker")()
        findings += start_probe("engine", model=engine_model, marker=DEFAULT_MARKER)()
    return findings


def start_probe(name: str, **arguments: object) -> Callable[[], list[Finding]]:
    """Start a probe; calling the result waits for its findings."""
    folder = tempfile.TemporaryDirectory(prefix="softthink-doctor-")
    out = Path(folder.name) / "findings.json"
    log = (Path(folder.name) / "log").open("w+", encoding="utf-8", errors="replace")
    quick = name in ("platform", "marker", "configuration")
    process = subprocess.Popen(
        [sys.executable, "-m", "verl_softthink.doctor.probe", name, json.dumps(arguments), str(out)],
        stdout=log,
        stderr=subprocess.STDOUT,
    )

    def findings() -> list[Finding]:
        seconds = _QUICK_SECONDS if quick else _DEEP_SECONDS
        with folder, log:
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return [failure(name, f"The check of the {name} took more than {seconds} s and was stopped.")]
            if out.exists():
                return [Finding.from_dict(values) for values in json.loads(out.read_text(encoding="utf-8"))]
            log.seek(0)
            last = next((line.strip() for line in reversed(log.readlines()) if line.strip()), "no output")
            return [
                failure(
                    name, f"The check of the {name} ended with exit code {process.returncode} before its end: {last}"
                )
            ]

    return findings
