"""One check in a process of its own: ``python -m verl_softthink.doctor.probe NAME ARGUMENTS OUT``.

A broken library may take its process down, and verl's platform is chosen once per process.
"""

import importlib
import json
import sys
from pathlib import Path

#: Module and function of each; only the one that runs is imported.
PROBES = {
    "platform": ("platform_probe", "platform_findings"),
    "marker": ("marker", "marker_findings"),
    "configuration": ("configuration", "configuration_findings"),
    "registrations": ("registrations", "registration_findings"),
    "Ray worker": ("deep", "ray_findings"),
    "engine": ("deep", "engine_findings"),
}


def main(name: str, arguments: str, out: str) -> None:
    """Run one probe; ``arguments`` are its keyword arguments as JSON, ``out`` gets its findings."""
    module, function = PROBES[name]
    findings = getattr(importlib.import_module(f"verl_softthink.doctor.{module}"), function)(**json.loads(arguments))
    Path(out).write_text(json.dumps([finding.as_dict() for finding in findings]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
