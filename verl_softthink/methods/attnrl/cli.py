"""The command ``verl-softthink bench fci``."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.standalone import choose_platform


class ShapeName(StrEnum):
    """The shapes of ``bench.SHAPES`` that are worth measuring."""

    smollm2 = "smollm2"
    pocket = "pocket"


def bench_fci(
    shape: Annotated[ShapeName, typer.Option(help="SmolLM2-135M at 2k tokens, or the pocket reasoner at 8k.")] = (
        ShapeName.smollm2
    ),
    quick: Annotated[bool, typer.Option(help="A small model, to see that it runs.")] = False,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write the result, with hardware and versions.")
    ] = None,
) -> None:
    """Time and peak memory of a forward pass with forward context influence over a plain one."""
    choose_platform()
    from verl_softthink.bench.report import report
    from verl_softthink.methods.attnrl import bench as fci

    report(fci.run("quick" if quick else shape.value, repeats), json)


def add_to(groups: Mapping[str, typer.Typer]) -> None:
    """Add the command."""
    groups["bench"].command("fci")(bench_fci)
