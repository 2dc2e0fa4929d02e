"""The table of a measurement: one line for each mode and group of parameters."""

from rich.table import Column, Table


def table(result: dict) -> Table:
    """What ``run.signals`` returns, as a table."""
    right = {"justify": "right"}
    found = Table(
        "mode",
        Column("right", **right),
        Column("mixed", **right),
        "parameters",
        Column("SNR", **right),
        Column("95 %", **right),
        Column("norm", **right),
        title="bench gradient",
        caption="right: share of right answers; mixed: share of prompts with right and wrong ones, which alone have a "
        "gradient. SNR: of one batch, squared norm of the mean gradient over the trace of its variance. norm: of one "
        "batch's gradient.",
    )
    for mode, measured in result["modes"].items():
        head = [mode, f"{measured['accuracy']:.2f}", f"{measured['mixed_groups']:.2f}"]
        for group, signal in measured["groups"].items():
            ratio = signal["ratio"]
            shown = (
                ("none", "") if ratio is None else (f"{ratio['mean']:.2g}", "{low:.2g} to {high:.2g}".format(**ratio))
            )
            found.add_row(*head, group, *shown, f"{signal['norm']:.3g}")
            head = ["", "", ""]
        found.add_section()
    return found
