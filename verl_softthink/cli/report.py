"""``verl-softthink watch``, ``summary``, ``plot``, ``inspect``, ``metrics``: a run as it goes, and what it left."""

from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.standalone import choose_platform


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
    model: Annotated[
        Path | None, typer.Option(help="Checkpoint, for its tokenizer; the pocket reasoner by default.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="Validation metric; default: the run's only validation accuracy.")
    ] = None,
) -> None:
    """Write summary.json, curve.png and trace.html into the run's directory, and print the summary."""
    from verl_softthink.methods.registry import parts
    from verl_softthink.report.overview import write_overview

    write_overview(run, model, validation, parts=[part() for part in parts("page")])


def plot(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Runs as PATH or LABEL=PATH: directories with metrics*.jsonl or TensorBoard events, seeds of one "
            "method under one label. Or JSON files of evaluations, for pass@k."
        ),
    ],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("curve.png"),
    title: str = "",
    reward: Annotated[str, typer.Option(help="Metric of the left panel.")] = "critic/score/mean",
    validation: Annotated[
        str | None, typer.Option(help="Metric of the right panel; default: the runs' only validation accuracy.")
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Steps in the running mean of the left panel.")] = 5,
    x: Annotated[str, typer.Option(help="Horizontal axis: step, tokens (generated) or seconds (of steps).")] = "step",
) -> None:
    """Draw learning curves with bands over seeds, or pass@k curves."""
    from verl_softthink.report.curve import plot_curve
    from verl_softthink.report.pass_at_k import plot_pass_at_k
    from verl_softthink.report.seeds import labelled

    pairs = labelled(runs)
    evaluations = [path.suffix == ".json" for _, path in pairs]
    if all(evaluations):
        plot_pass_at_k(pairs, out, title=title)
    elif any(evaluations):
        raise ValueError("runs and evaluations (.json) cannot share a figure; draw them with two commands")
    else:
        plot_curve(pairs, out, title=title, reward=reward, validation=validation, window=window, unit=x)


def inspect(
    run_or_trace: Annotated[Path, typer.Argument(help="Directory of a run, or a dump traces-<step>.safetensors.")],
    model: Annotated[
        Path | None, typer.Option(help="Checkpoint, for its tokenizer; the pocket reasoner by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("trace.html"),
    count: Annotated[int, typer.Option(min=1, help="Responses on the page, the most mixed ones.")] = 4,
    step: Annotated[int | None, typer.Option(help="Training step; default: the last one.")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="A second run or dump, e.g. discrete: the same prompts side by side.")
    ] = None,
) -> None:
    """Write a page that shows soft traces position by position."""
    from verl_softthink.methods.registry import parts
    from verl_softthink.report.overview import write_trace_page
    from verl_softthink.report.selection import find_dump

    other = find_dump(beside, step) if beside else None
    page_parts = [part() for part in parts("page")]
    write_trace_page(find_dump(run_or_trace, step), model, out, count, other, page_parts)
    typer.echo(f"wrote {out}")


def metrics() -> None:
    """Say what each metric under softthink/ means, what is healthy, and what to do otherwise."""
    choose_platform()
    from rich.console import Console
    from rich.table import Table

    from verl_softthink.report.metric_doc import PREFIX
    from verl_softthink.training import metric_docs

    table = Table(title=f"metrics under {PREFIX}", show_lines=True)
    for column in ("softthink/...", "meaning", "healthy", "otherwise"):
        # Advice is folded, never cut, however narrow the terminal.
        table.add_column(column, overflow="fold")
    for row in metric_docs.metrics():
        table.add_row(row.name, row.meaning, row.healthy, row.otherwise)
    Console().print(table)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (watch, summary, plot, inspect, metrics):
        app.command()(command)
