"""``verl-softthink``: one module per group of commands, each with a function ``add_to(app)``; listed below, once.

Heavy imports wait inside the commands, so that ``--help`` and argument errors are instant.
"""

import logging

import typer

from verl_softthink.cli import bench, data, doctor, evaluation, report
from verl_softthink.methods.repro import cli as process_reward

GROUPS = (
    bench,
    data,
    doctor,
    evaluation,
    process_reward,
    report,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Soft-token reasoning for stock verl and vLLM.",
)


@app.callback()
def _configure() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")


for group in GROUPS:
    group.add_to(app)
