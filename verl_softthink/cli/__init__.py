"""``verl-softthink``: one module per group of commands, each with a function ``add_to(app)``; listed below, once.

Methods add commands of their own, beside these or to a group (``methods.registry``). Heavy imports wait inside the
commands, so that ``--help`` and argument errors are instant.
"""

import logging
from typing import Annotated, Any

import typer
from typer import Context
from typer.core import TyperGroup

from verl_softthink import __version__
from verl_softthink.cli import audit, bench, data, doctor, evaluation, recipes, report
from verl_softthink.errors import one_sentence
from verl_softthink.methods import registry


class _Commands(TyperGroup):
    """All commands, those of methods too: what a user can mend is one sentence."""

    def invoke(self, ctx: Context) -> Any:
        with one_sentence():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
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


for group in (audit, bench, data, doctor, evaluation, recipes, report):
    group.add_to(app)
for add_to in registry.parts("commands"):
    add_to({"": app, "bench": bench.bench, "data": data.data})
