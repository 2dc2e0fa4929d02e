"""``verl-softthink recipes ...``: what ``+softthink=`` accepts, and the scripts that go with it."""

from pathlib import Path
from typing import Annotated

import typer

recipes = typer.Typer(no_args_is_help=True, help="Recipes, and the scripts that run them.")
#: Runs on any machine in minutes, so it is the script to begin with.
_FIRST_SCRIPT = Path("recipes", "soft_grpo", "run_pocket_cpu.sh")


@recipes.command("list")
def list_recipes() -> None:
    """List the names that +softthink= accepts, those of installed methods included."""
    from verl_softthink.training.recipe_store import recipe_names

    for name in recipe_names():
        typer.echo(name)


@recipes.command("show")
def show(name: Annotated[str, typer.Argument(help="A recipe, e.g. soft_grpo.")]) -> None:
    """Print what a recipe sets, with its comments."""
    from verl_softthink.training.recipe_store import recipe_names, recipe_text

    if name not in recipe_names():
        raise ValueError(f"recipe {name!r} is unknown; the recipes are {', '.join(recipe_names())}")
    typer.echo(recipe_text(name), nl=False)


@recipes.command("copy")
def copy(directory: Annotated[Path, typer.Argument(help="Where recipes/ and examples/ are written.")]) -> None:
    """Write the run scripts, the examples and their documents into a directory; nothing is overwritten."""
    from verl_softthink.shipped import FOLDERS, copy_scripts

    written = copy_scripts(directory)
    folders = " and ".join(str(directory / name) for name in FOLDERS)
    typer.echo(f"wrote {len(written)} files into {folders}")
    typer.echo(f"next: bash {directory / _FIRST_SCRIPT}, on a CPU; {directory / 'recipes' / 'README.md'} has more")


def add_to(app: typer.Typer) -> None:
    """Add the group ``recipes``."""
    app.add_typer(recipes, name="recipes")
