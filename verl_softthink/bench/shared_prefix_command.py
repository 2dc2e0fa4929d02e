"""The command ``verl-softthink bench prefix``."""

from pathlib import Path
from typing import Annotated

import typer


def bench_prefix(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the result, with hardware and versions.")
    ] = None,
) -> None:
    """Time and tokens of a training pass over trees, shared prefixes computed once over once per leaf."""
    from verl_softthink.bench import shared_prefix
    from verl_softthink.bench.report import report

    report(shared_prefix.run(shared_prefix.QUICK if quick else shared_prefix.FULL), json)
