"""``verl-softthink``: benches, and the pages and figures of a run. Heavy imports wait until a command needs them."""

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.bench.fci_command import bench_fci

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Soft-token reasoning for stock verl and vLLM.")
bench = typer.Typer(no_args_is_help=True, help="Ratios measured in one run, interleaved; medians.")
app.add_typer(bench, name="bench")
bench.command("fci")(bench_fci)

JsonPath = Annotated[Path | None, typer.Option("--json", help="Also write the result, with hardware and versions.")]


class LawName(StrEnum):
    """Laws that a bench can run."""

    gumbel = "gumbel"
    concrete = "concrete"
    deterministic = "deterministic"
    gumbel_reference = "gumbel_reference"


@app.callback()
def _configure() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")


@bench.command("rollout")
def bench_rollout(
    model: Annotated[Path | None, typer.Option(help="Checkpoint; the pocket reasoner by default.")] = None,
    law: LawName = LawName.gumbel,
    batch: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 32,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens per response.")] = 128,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    json: JsonPath = None,
) -> None:
    """Throughput of soft over ordinary requests in one vLLM engine."""
    from verl_softthink.bench import rollout
    from verl_softthink.bench.report import report
    from verl_softthink.pocket import checkpoint_path

    result = rollout.run(model or checkpoint_path(), law=law.value, batch=batch, tokens=tokens, repeats=repeats)
    report(result, json)


@bench.command("likelihood")
def bench_likelihood(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False, json: JsonPath = None
) -> None:
    """Time of a soft over a discrete training pass (forward and backward) of the same tokens."""
    from verl_softthink.bench import likelihood
    from verl_softthink.bench.report import report

    report(likelihood.run(likelihood.QUICK if quick else likelihood.FULL), json)


@app.command()
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


@app.command()
def summary(
    run: Annotated[Path, typer.Argument(help="Directory of a run: metrics*.jsonl, and rollouts/ if dumped.")],
    model: Annotated[Path | None, typer.Option(help="Checkpoint, for its tokenizer.")] = None,
) -> None:
    """Write summary.json, curve.png and trace.html into the run's directory, and print the summary."""
    from verl_softthink.report.overview import write_overview

    write_overview(run, model)


@app.command()
def inspect(
    dump: Annotated[Path, typer.Argument(help="A rollout dump, traces-<step>.safetensors.")],
    model: Annotated[Path, typer.Option(help="Checkpoint, for its tokenizer.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("trace.html"),
    count: Annotated[int, typer.Option(min=1, help="Responses on the page.")] = 4,
) -> None:
    """Write a page that shows soft traces position by position."""
    from verl_softthink.report.overview import write_trace_page

    write_trace_page(dump, model, out, count)
