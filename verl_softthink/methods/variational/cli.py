"""``verl-softthink data variational``: weighted thoughts for verl's SFT trainer."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.standalone import choose_platform


class StageName(StrEnum):
    """Stages of the pipeline, in their order."""

    sample = "sample"
    score = "score"
    verify = "verify"
    weigh = "weigh"
    write = "write"


def variational(
    questions: Annotated[Path, typer.Option(help="Parquet or JSON lines, verl's or Bespoke-Stratos' schema.")],
    model: Annotated[str, typer.Option(help="Checkpoint to be trained.")],
    work: Annotated[Path, typer.Option(help="Working directory; the same command continues an interrupted one.")],
    posterior_model: Annotated[str | None, typer.Option(help="Checkpoint that sees the hint; default --model.")] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML file with any further setting.")] = None,
    thoughts: Annotated[int | None, typer.Option(min=1, help="Thoughts per question; default 8.")] = None,
    until: Annotated[StageName, typer.Option(help="Last stage to run.")] = StageName.write,
) -> None:
    """Sample thoughts from a posterior with a hint, score, verify and weigh them, and write WORK/train.parquet."""
    choose_platform()
    from verl_softthink.config.base import parse
    from verl_softthink.errors import about_file
    from verl_softthink.files.reading import read_yaml
    from verl_softthink.methods.variational.offline.pipeline import run
    from verl_softthink.methods.variational.offline.settings import OfflineSettings

    values = read_yaml(settings) if settings else {}
    given = {"questions": str(questions), "model": model, "posterior_model": posterior_model, "thoughts": thoughts}
    values |= {key: value for key, value in given.items() if value is not None}
    with about_file(settings or "data variational", ValueError):
        parsed = parse(OfflineSettings, values, "settings")
    run(parsed, work, until=until.value)


def add_to(groups: Mapping[str, typer.Typer]) -> None:
    """Add the command."""
    groups["data"].command("variational")(variational)
