"""``verl-softthink chain``, process rewards of one given chain of thought, and ``verl-softthink bench repro``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.standalone import choose_platform


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
    """Print how every segment of a response changes the likelihood of the right answer."""
    from verl_softthink.methods.repro.chain import report_chain

    report_chain(problem, response, answer, model, dict(map(_pair, setting or ())), marker, out)


def _pair(text: str) -> tuple[str, object]:
    import json

    key, equals, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"--setting {text!r}: write KEY=JSON, e.g. 'delimiters=[\"\\n\"]' ({error})") from None


def bench_repro(
    quick: Annotated[bool, typer.Option(help="A small model, to try it out.")] = False,
    tokens: Annotated[int, typer.Option(min=64, help="Tokens of each sequence, 32 of them prompt.")] = 2048,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Fewer layers than the shape has, for slow machines.")
    ] = None,
    naive: Annotated[bool, typer.Option(help="Also measure one pass per prefix, about eleven times as long.")] = True,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the result, with hardware and versions.")
    ] = None,
) -> None:
    """Time of an old-log-prob pass with and without the scoring of answers, and of the naive passes."""
    choose_platform()
    from verl_softthink.bench.report import report
    from verl_softthink.methods.repro import bench as repro

    report(repro.run(repro.QUICK if quick else repro.FULL, tokens=tokens, layers=layers, naive=naive), json)


def add_to(groups: Mapping[str, typer.Typer]) -> None:
    """Add the commands."""
    groups[""].command()(chain)
    groups["bench"].command("repro")(bench_repro)
