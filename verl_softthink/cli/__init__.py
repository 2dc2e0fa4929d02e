"""``verl-softthink``: one module per group of commands, each with a function ``add_to(app)``; listed below, once.

Methods add commands of their own, beside these or to a group (``methods.registry``). Heavy imports wait inside the
commands, so that ``--help`` and argument errors are instant.
"""

import logging
from typing import Annotated

import typer

from verl_softthink import __version__
from verl_softthink.cli import audit, bench, data, doctor, evaluation, report
from verl_softthink.methods import registry

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Soft-token reasoning for stock verl and vLLM.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _configure(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")


for group in (audit, bench, data, doctor, evaluation, report):
    group.add_to(app)
for add_to in registry.parts("commands"):
    add_to({"": app, "bench": bench.bench, "data": data.data})
