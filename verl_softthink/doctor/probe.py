"""Checks in a process of their own: ``python -m verl_softthink.doctor.probe CHECKS OUT``.

A broken library may take its process down, and verl's platform is chosen once per process. Checks that share a process
share the seconds that importing verl takes.
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


def main(checks: str, out: str) -> None:
    """Run checks; ``checks`` are their names and keyword arguments as JSON, ``out`` gets the findings of each."""
    found = []
    for name, arguments in json.loads(checks):
        module, function = PROBES[name]
        check = getattr(importlib.import_module(f"verl_softthink.doctor.{module}"), function)
        found.append([finding.as_dict() for finding in check(**arguments)])
        # After each: the next one may take the process down.
        Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
