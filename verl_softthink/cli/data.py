"""``verl-softthink data ...``"""

import typer

from verl_softthink.variational.cli import variational

data = typer.Typer(no_args_is_help=True, help="Training data made with a model.")


@data.callback()
def _group() -> None:
    """Keeps the names of commands even while there is only one."""


data.command("variational")(variational)


def add_to(app: typer.Typer) -> None:
    """Add the group ``data``."""
    app.add_typer(data, name="data")
