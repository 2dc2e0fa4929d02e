"""``verl-softthink chain``: process rewards of one given chain of thought."""

from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.cli.errors import one_sentence


def chain(
    problem: Annotated[str, typer.Argument(help="The user's message.")],
    response: Annotated[Path, typer.Argument(help="Text file with the response: thinking, marker, answer.")],
    answer: Annotated[str, typer.Option(help="The right answer.")],
    model: Annotated[Path | None, typer.Option(help="Checkpoint; the overthinking pocket reasoner by default.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE of softthink.repro, value in JSON; may be repeated.")
    ] = None,
    marker: Annotated[str, typer.Option(help="End-of-thinking marker.")] = "</think>",
    out: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
) -> None:
    """Print what every segment of a response does to the likelihood of the right answer."""
    from verl_softthink.methods.repro.chain_report import report_chain

    with one_sentence():
        report_chain(problem, response, answer, model, dict(map(_pair, setting or ())), marker, out)


def _pair(text: str) -> tuple[str, object]:
    import json

    key, equals, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"--setting {text!r}: write KEY=JSON, e.g. 'delimiters=[\"\\n\"]' ({error})") from None


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chain)
