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
#: Name and keyword arguments.
Check = tuple[str, dict[str, object]]


def examine(*, model: str | None, overrides: list[str], deep: bool) -> list[Finding]:
    """Everything the doctor knows.

    Args:
        model: checkpoint whose tokenizer is looked at, and which ``deep`` runs; without one, ``deep`` runs the
            configuration's, or the pocket reasoner.
        overrides: verl's command line; its configuration is checked when there is one.
        deep: start a Ray worker and a vLLM engine, and sample a few responses.
    """
    findings = version_findings() + switch_findings()
    if any(finding.status is Status.failure for finding in findings):
        return [*findings, warning("doctor", "The other checks wait until this is mended: they would fail with it.")]
    # Side by side: each is mostly imports of verl and transformers.
    checks: list[Check] = [("platform", {})]
    if overrides:
        checks.append(("configuration", {"overrides": overrides}))
    probes = [start_probe(*checks)]
    if model is not None:
        probes.append(start_probe(("marker", {"model": model})))
    imports = [start_import(name) for name in installed_companions()]
    for finish in imports:
        findings.append(finish())
    for probe in probes:
        findings += probe.findings()
    if deep:
        # Side by side: each mostly imports.
        deep_checks: list[Check] = [
            ("registrations", {"process": "the driver"}),
            ("Ray worker", {}),
            ("engine", {"model": model, "overrides": overrides}),
        ]
        for probe in [start_probe(check) for check in deep_checks]:
            findings += probe.findings()
    return findings


class Probe:
    """Checks at work in a process of their own (``probe.py``)."""

    def __init__(self, names: list[str], process: subprocess.Popen, folder: tempfile.TemporaryDirectory, log: TextIO):
        self._names, self._process, self._folder, self._log = names, process, folder, log

    def findings(self) -> list[Finding]:
        """Wait for them."""
        seconds = sum(_QUICK_SECONDS if name in _QUICK else _DEEP_SECONDS for name in self._names)
        with self._folder, self._log:
            try:
                self._process.wait(timeout=seconds)
                ended = f"ended with exit code {self._process.returncode} before its end: "
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                ended = f"took more than {seconds} s and was stopped: "
            out = Path(self._folder.name) / _OUT
            done = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
            findings = [Finding.from_dict(values) for check in done for values in check]
            if len(done) < len(self._names):
                name = self._names[len(done)]
                findings.append(failure(name, f"The check of the {name} {ended}{self._last_line()}"))
            return findings

    def _last_line(self) -> str:
        self._log.seek(0)
        return next((line.strip() for line in reversed(self._log.readlines()) if line.strip()), "no output")


def start_probe(*checks: Check) -> Probe:
    """Start checks, one after the other in one process."""
    folder = tempfile.TemporaryDirectory(prefix="softthink-doctor-")
    log = (Path(folder.name) / "log").open("w+", encoding="utf-8", errors="replace")
    process = subprocess.Popen(
        [sys.executable, "-m", "verl_softthink.doctor.probe", json.dumps(checks), str(Path(folder.name) / _OUT)],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    return Probe([name for name, _ in checks], process, folder, log)
