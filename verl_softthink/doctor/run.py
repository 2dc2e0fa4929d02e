"""Run every check and collect what they say."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from verl_softthink.doctor.findings import Finding, Status, failure, warning
from verl_softthink.doctor.libraries import installed_companions, start_import
from verl_softthink.doctor.switches import switch_findings
from verl_softthink.doctor.versions import version_findings

#: Bounds of one probe in seconds: imports, and engines.
_QUICK_SECONDS, _DEEP_SECONDS = 300, 600
_QUICK = ("platform", "marker", "configuration")
_OUT = "findings.json"
DEFAULT_MARKER = "</think>"


def examine(*, model: str | None, overrides: list[str], deep: bool) -> list[Finding]:
    """Everything the doctor knows.

    Args:
        model: checkpoint whose tokenizer is looked at, and which ``deep`` runs; none, and the pocket reasoner.
        overrides: verl's command line; its configuration is checked when there is one.
        deep: start a Ray worker and a vLLM engine.
    """
    # Each is mostly the import of verl or transformers, which takes longer than everything that is read meanwhile.
    probes = [start_probe("platform")]
    if model is not None:
        probes.append(start_probe("marker", model=model))
    if overrides:
        probes.append(start_probe("configuration", overrides=overrides))
    findings = version_findings() + switch_findings()
    if any(finding.status is Status.failure for finding in findings):
        for probe in probes:
            probe.stop()
        return [*findings, warning("doctor", "The other checks wait until this is mended: they would fail with it.")]
    imports = [start_import(name) for name in installed_companions()]
    for finish in imports:
        findings.append(finish())
    for probe in probes:
        findings += probe.findings()
    if deep:
        from verl_softthink.pocket import checkpoint_path

        engine_model = model or str(checkpoint_path())
        findings += start_probe("registrations", process="the driver").findings()
        findings += start_probe("Ray worker").findings()
        findings += start_probe("engine", model=engine_model, marker=DEFAULT_MARKER).findings()
    return findings


class Probe:
    """One check at work in a process of its own (``probe.py``)."""

    def __init__(self, name: str, process: subprocess.Popen, folder: tempfile.TemporaryDirectory, log: TextIO):
        self._name, self._process, self._folder, self._log = name, process, folder, log

    def findings(self) -> list[Finding]:
        """Wait for them."""
        name, process = self._name, self._process
        seconds = _QUICK_SECONDS if name in _QUICK else _DEEP_SECONDS
        with self._folder, self._log as log:
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return [failure(name, f"The check of the {name} took more than {seconds} s and was stopped.")]
            out = Path(self._folder.name) / _OUT
            if out.exists():
                return [Finding.from_dict(values) for values in json.loads(out.read_text(encoding="utf-8"))]
            log.seek(0)
            last = next((line.strip() for line in reversed(log.readlines()) if line.strip()), "no output")
            return [
                failure(
                    name, f"The check of the {name} ended with exit code {process.returncode} before its end: {last}"
                )
            ]

    def stop(self) -> None:
        """End it; nobody wants its findings any more."""
        with self._folder, self._log:
            self._process.kill()
            self._process.wait()


def start_probe(name: str, **arguments: object) -> Probe:
    """Start a check; ``arguments`` are its own."""
    folder = tempfile.TemporaryDirectory(prefix="softthink-doctor-")
    log = (Path(folder.name) / "log").open("w+", encoding="utf-8", errors="replace")
    out = str(Path(folder.name) / _OUT)
    process = subprocess.Popen(
        [sys.executable, "-m", "verl_softthink.doctor.probe", name, json.dumps(arguments), out],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    return Probe(name, process, folder, log)
