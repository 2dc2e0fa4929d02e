"""What a verl process sees: its device, its attention back ends, whether it has the plugin, and installed laws."""

import importlib.util
import os
import sys

from verl_softthink.doctor.findings import Finding, failure, ok, warning
from verl_softthink.doctor.libraries import INSTALL_FLASH_ATTENTION
from verl_softthink.standalone import choose_platform, has_accelerator

CHECK = "platform"


def platform_findings() -> list[Finding]:
    """Run in a fresh process: it imports verl."""
    import torch

    findings = []
    if has_accelerator():
        device = torch.accelerator.current_accelerator()
        name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
        findings.append(ok(CHECK, f"{torch.accelerator.device_count()} x {name}."))
        findings.append(_flash_attention())
    elif os.environ.get("VERL_PLATFORM", "").strip().lower() != "cpu":
        findings.append(
            failure(
                CHECK,
                "torch finds no accelerator and VERL_PLATFORM is not cpu: export VERL_PLATFORM=cpu, and select the "
                "recipe cpu as well, e.g. '+softthink=[cpu,soft_grpo]'.",
            )
        )
    else:
        findings.append(ok(CHECK, "CPU, chosen with VERL_PLATFORM=cpu; attention is torch's sdpa."))
    choose_platform()
    return [*findings, _plugin_loaded(), *_installed_laws()]


def _flash_attention() -> Finding:
    if importlib.util.find_spec("flash_attn") is not None:
        return ok(CHECK, "flash-attn is installed, which verl's unpadded batches need.")
    return warning(
        CHECK,
        f"flash-attn is not installed, which verl's unpadded batches need: {INSTALL_FLASH_ATTENTION}, or set "
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa and "
        "actor_rollout_ref.model.use_remove_padding=False.",
    )


def _plugin_loaded() -> Finding:
    import verl

    if "verl_softthink.plugin" in sys.modules:
        return ok("plugin", f"`import verl` ({verl.__version__}) loads the plugin.")
    return failure(
        "plugin",
        "`import verl` does not load the plugin, so no recipe can be selected: see the other sentences about the "
        "plugin, or run `python -c 'import verl_softthink.plugin'` to see its error.",
    )


def _installed_laws() -> list[Finding]:
    """Laws of other distributions; none as a rule. A run that selects one that is broken is refused."""
    from verl_softthink.laws import LAWS

    findings = []
    for name in LAWS:
        try:
            law = LAWS[name]
        except ValueError as error:
            findings.append(warning("laws", f"{str(error)[:1].upper()}{str(error)[1:]}."))
            continue
        if law not in LAWS.own:
            findings.append(ok("laws", f"softthink.law.name={name} is {type(law).__module__}.{type(law).__name__}."))
    return findings
