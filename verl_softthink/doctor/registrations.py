"""Every registration of ``upstream``, in the process that asks: import what each waits for, and see that it ran."""

import importlib

from verl_softthink.doctor.findings import Finding, failure, ok

CHECK = "registrations"


def registration_findings(process: str) -> list[Finding]:
    """Import every upstream module of the list; ``process`` names this process in the sentences."""
    import verl  # noqa: F401  (loads the plugin)

    from verl_softthink.plugin import registrations
    from verl_softthink.upstream.hooks import applied

    wanted = registrations()
    missing = []
    for module, function in wanted:
        importlib.import_module(module)
        if function not in applied(module):
            missing.append(function)
    if missing:
        return [
            failure(
                CHECK,
                f"In {process} these registrations did not happen: {', '.join(missing)}. Check that the plugin is "
                "installed and not disabled in that process.",
            )
        ]
    return [ok(CHECK, f"All {len(wanted)} registrations happen in {process}.")]
