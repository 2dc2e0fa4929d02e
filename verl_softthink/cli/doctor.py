"""``verl-softthink doctor``"""

from typing import Annotated

import typer

SICK = 1


def doctor(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="After --: the overrides of a verl command line, to be checked.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint: its tokenizer's end-of-thinking marker.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also start Ray and vLLM, and sample responses.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say in plain sentences whether the installation will work; exit with 1 if it will not."""
    import json as json_module

    from rich.console import Console

    from verl_softthink.doctor.findings import Status
    from verl_softthink.doctor.run import examine

    findings = examine(model=model, overrides=overrides or [], deep=deep)
    healthy = all(finding.status is not Status.failure for finding in findings)
    if json:
        document = {"ok": healthy, "findings": [finding.as_dict() for finding in findings]}
        typer.echo(json_module.dumps(document, indent=2, ensure_ascii=False))
    else:
        console = Console(soft_wrap=True, highlight=False)
        style = {
            Status.ok: ("green", "ok     "),
            Status.warning: ("yellow", "warning"),
            Status.failure: ("red", "FAILURE"),
        }
        for finding in findings:
            colour, mark = style[finding.status]
            console.print(f"[{colour}]{mark}[/{colour}] {finding.check}: ", end="")
            console.print(finding.text, markup=False)
        console.print("It will work." if healthy else "It will not work as it is.", style="bold")
    if not healthy:
        raise typer.Exit(SICK)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
