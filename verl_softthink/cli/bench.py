"""``verl-softthink bench ...``"""

from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.standalone import choose_platform

bench = typer.Typer(no_args_is_help=True, help="Ratios measured in one run, interleaved; medians.")

JsonPath = Annotated[Path | None, typer.Option("--json", help="Also write the result, with hardware and versions.")]


def _known_law(name: str) -> str:
    from verl_softthink.laws import get_law

    try:
        return get_law(name).name
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@bench.command("rollout")
def bench_rollout(
    model: Annotated[Path | None, typer.Option(help="Checkpoint; the pocket reasoner by default.")] = None,
    law: Annotated[str, typer.Option(help="Any law, by name.", callback=_known_law)] = "gumbel",
    batch: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 32,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens per response.")] = 128,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    compile_step: Annotated[bool, typer.Option(help="Fuse the soft step with torch.compile; for a GPU.")] = False,
    json: JsonPath = None,
) -> None:
    """Throughput of soft over ordinary requests in one vLLM engine."""
    choose_platform()
    from verl_softthink.bench import rollout
    from verl_softthink.bench.report import report
    from verl_softthink.pocket import checkpoint_path

    result = rollout.run(
        model or checkpoint_path(), law=law, batch=batch, tokens=tokens, repeats=repeats, compile_step=compile_step
    )
    report(result, json)


@bench.command("likelihood")
def bench_likelihood(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False, json: JsonPath = None
) -> None:
    """Time of a soft over a discrete training pass (forward and backward) of the same tokens."""
    choose_platform()
    from verl_softthink.bench import likelihood
    from verl_softthink.bench.report import report

    report(likelihood.run(likelihood.QUICK if quick else likelihood.FULL), json)


@bench.command("head")
def bench_head(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False, json: JsonPath = None
) -> None:
    """Memory and time of a training pass with the output head in pieces over one that holds all logits."""
    choose_platform()
    from verl_softthink.bench import head
    from verl_softthink.bench.report import report

    report(head.run(head.QUICK if quick else head.FULL), json)


@bench.command("prefix")
def bench_prefix(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False, json: JsonPath = None
) -> None:
    """Time and tokens of a training pass over trees, shared prefixes computed once over once per leaf."""
    choose_platform()
    from verl_softthink.bench import shared_prefix
    from verl_softthink.bench.report import report

    report(shared_prefix.run(shared_prefix.QUICK if quick else shared_prefix.FULL), json)


def budget() -> None:
    """Memory and time of a training step on 8 GPUs, computed: GRPO's share, and what soft thoughts add."""
    from verl_softthink.bench.budget import table

    typer.echo(table())


def add_to(app: typer.Typer) -> None:
    """Add the group ``bench``, and ``budget``, which measures nothing."""
    app.add_typer(bench, name="bench")
    app.command()(budget)
