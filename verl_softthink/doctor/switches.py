"""What can keep the plugin from being loaded: environment variables, and entry points that are not there."""

import os
from importlib.metadata import entry_points

from verl_softthink.doctor.findings import Finding, failure, ok
from verl_softthink.upstream import compat

CHECK = "plugin"
#: Group and object of this package's entry points, as in pyproject.toml; the name is the same in both groups.
ENTRY_POINTS = {
    "verl.plugins": "verl_softthink.plugin",
    "vllm.general_plugins": "verl_softthink.rollout.vllm.plugin:register",
}
NAME = "verl_softthink"
#: Who loads which group, and the variable with which a user restricts it to a list of names.
_ALLOWED = {"verl": ("VERL_USE_EXTERNAL_PLUGINS", ("", "auto")), "vLLM": ("VLLM_PLUGINS", (None,))}


def switch_findings() -> list[Finding]:
    """One sentence per obstacle, or one that there is none."""
    problems = [*_disabled(), *_restricted(), *_entry_points()]
    return problems or [ok(CHECK, "Both entry points are installed, and no environment variable turns them off.")]


def _disabled() -> list[Finding]:
    problems = []
    for switch in (compat.disabled, compat.strict, compat.bounded_waits):
        try:
            on = switch()
        except ValueError as error:
            problems.append(failure(CHECK, f"{error}."))
            continue
        if on and switch is compat.disabled:
            problems.append(
                failure(
                    CHECK,
                    "VERL_SOFTTHINK_DISABLE=1 turns the plugin off in every process: unset VERL_SOFTTHINK_DISABLE.",
                )
            )
    return problems


def _restricted() -> list[Finding]:
    problems = []
    for loader, (variable, everything) in _ALLOWED.items():
        value = os.environ.get(variable)
        if value in everything or value is None or NAME in [name.strip() for name in value.split(",")]:
            continue
        problems.append(
            failure(
                CHECK,
                f"{variable}={value!r} keeps {loader} from loading the plugin: unset it, or add {NAME} to the list.",
            )
        )
    return problems


def _entry_points() -> list[Finding]:
    problems = []
    for group, wanted in ENTRY_POINTS.items():
        found = [point.value for point in entry_points(group=group) if point.name == NAME]
        if wanted not in found:
            problems.append(
                failure(
                    CHECK,
                    f"The entry point {NAME} = {wanted} of group {group} is missing (found: {found or 'none'}), so "
                    f"{group.partition('.')[0]} will not load the plugin: install the package again with pip install.",
                )
            )
    return problems
