"""Options that every command on problems has: data, phase, lengths, reward and engine."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option(help="Problems: verl's parquet, or question and answer (.parquet, .jsonl).")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first problems of the file.")]
EndOfThinking = Annotated[str, typer.Option(help="Text that ends thinking.")]
Budget = Annotated[int | None, typer.Option(min=0, help="Thinking tokens before the marker is forced.")]
Phase = Annotated[
    list[str] | None, typer.Option(help="KEY=VALUE of softthink.phase, beside those two; may be repeated.")
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Longest response.")]
Prompt = Annotated[str, typer.Option(help="How bare questions are asked; rows with a prompt keep it.")]
Reward = Annotated[str, typer.Option(help="pocket, number or math_verify; auto: by the data set's name.")]
MaxNumSeqs = Annotated[int, typer.Option(min=1, help="Requests at once.")]
TensorParallelSize = Annotated[int, typer.Option(min=1)]


def known(option: str, value: str, choices) -> None:
    """Check a value of an option.

    Raises:
        typer.BadParameter: naming the choices.
    """
    if value not in choices:
        raise typer.BadParameter(f"{option} {value} is unknown; use one of {', '.join(choices)}")
