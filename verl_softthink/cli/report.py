"""``verl-softthink watch``, ``summary`` and ``inspect``: a run while it goes, and what it left."""

from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.cli.errors import one_sentence


def watch(
    metrics: Annotated[Path, typer.Argument(help="The run's metrics file, which may not exist yet.")],
    process: Annotated[int, typer.Option(help="Process id of the run.")],
    log: Annotated[Path, typer.Option(help="The run's log, shown if it fails.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps the run will take.")],
) -> None:
    """Show the progress of a run until it ends; exit with 1 if it ended before its last step."""
    from verl_softthink.report.watch import watch as follow

    if not follow(metrics, process=process, log=log, steps=steps):
        raise typer.Exit(1)


def summary(
    run: Annotated[Path, typer.Argument(help="Directory of a run: metrics*.jsonl, and rollouts/ if dumped.")],
    model: Annotated[Path | None, typer.Option(help="Checkpoint, for its tokenizer.")] = None,
) -> None:
    """Write summary.json, curve.png and trace.html into the run's directory, and print the summary."""
    from verl_softthink.report.overview import write_overview

    with one_sentence():
        write_overview(run, model)


def inspect(
    dump: Annotated[Path, typer.Argument(help="A rollout dump, traces-<step>.safetensors.")],
    model: Annotated[Path, typer.Option(help="Checkpoint, for its tokenizer.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("trace.html"),
    count: Annotated[int, typer.Option(min=1, help="Responses on the page.")] = 4,
) -> None:
    """Write a page that shows soft traces position by position."""
    from verl_softthink.report.overview import write_trace_page

    with one_sentence():
        write_trace_page(dump, model, out, count)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (watch, summary, inspect):
        app.command()(command)
