"""``python -m verl_softthink``: the command line of this very interpreter's installation."""

from verl_softthink.cli import app

app()
