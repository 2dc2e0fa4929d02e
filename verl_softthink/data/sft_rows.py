"""The parquet schema of supervised fine-tuning on soft thoughts, and on tokens beside it.

| column | type | meaning |
|---|---|---|
| `prompt_ids` | [P] int | the prompt, chat template and start of thinking included |
| `response_ids` | [T] int | the token at each response position; at a thought it is shown, not fed |
| `loss_mask` | [T] int | 1 where the position is predicted, 0 where it is only fed (pause tokens) |
| `target_ids` | [T] lists of int | distinct candidates of a thought, the likeliest first; empty at an ordinary token |
| `target_weights` | [T] lists of float | their probabilities, which sum to 1; empty at an ordinary token |

Positions with a target distribution are fed a mixture and predicted with cross-entropy against the distribution; all
others are tokens. A file of tokens alone leaves the last two columns out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from verl_softthink.data.parquet import write_rows

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from pyarrow import Table

PROMPT, RESPONSE, MASK, IDS, WEIGHTS = "prompt_ids", "response_ids", "loss_mask", "target_ids", "target_weights"
#: How far the weights of a thought may be from a sum of 1: those of a file may be rounded to half precision.
SUM_TOLERANCE = 1e-2

#: Candidates and probabilities of one thought; empty for an ordinary token.
Target = tuple[Sequence[int], Sequence[float]]
TOKEN: Target = ((), ())


@dataclass(frozen=True)
class SftRow:
    """One response to learn.

    Attributes:
        prompt: [P] token ids.
        response: [T] token ids.
        mask: [T] 1 where the position is predicted, 0 where it is only fed.
        targets: [T] target distributions, ``TOKEN`` at ordinary tokens; None for a row of tokens alone.
    """

    prompt: Sequence[int]
    response: Sequence[int]
    mask: Sequence[int]
    targets: Sequence[Target] | None = None

    def __post_init__(self) -> None:
        for name, column in (("mask", self.mask), ("targets", self.targets)):
            if column is not None and len(column) != len(self.response):
                raise ValueError(f"{name} has {len(column)} positions, but the response has {len(self.response)}")
        if not self.prompt:
            raise ValueError("the prompt is empty, and nothing precedes the first token: give it a prompt")
        for position, (ids, weights) in enumerate(self.targets or ()):
            if problem := _problem(ids, weights):
                raise ValueError(f"the target distribution at response position {position} {problem}")

    def as_dict(self) -> dict[str, object]:
        """The row's columns."""
        columns = {PROMPT: list(self.prompt), RESPONSE: list(self.response), MASK: list(self.mask)}
        if self.targets is not None:
            columns[IDS] = [list(ids) for ids, _ in self.targets]
            columns[WEIGHTS] = [list(weights) for _, weights in self.targets]
        return columns

    @classmethod
    def of_dict(cls, columns: dict) -> "SftRow":
        """Read a row's columns.

        Raises:
            ValueError: saying what does not fit.
        """
        targets = None
        if columns.get(IDS) is not None:
            targets = list(zip(columns[IDS], columns[WEIGHTS], strict=True))
        response = columns[RESPONSE]
        return cls(columns[PROMPT], response, columns.get(MASK) or [1] * len(response), targets)


def write_sft_rows(rows: Sequence[SftRow], path: Path) -> None:
    """Write rows to one parquet file.

    Raises:
        ValueError: when there are no rows.
    """
    write_rows([row.as_dict() for row in rows], path)


def read_tables(
    files: str | Sequence[str], config: "DictConfig", *, columns: Sequence[str] | None = None, max_samples: int = -1
) -> "Table":
    """The rows of parquet files with ``prompt_ids`` and ``response_ids``, for a data set of verl's SFT trainer.

    Args:
        files: one or more; columns that some of them lack are null in their rows.
        config: verl's ``data`` node with ``max_length`` and ``pad_mode``.
        columns: those to read; None for all.
        max_samples: rows to read, -1 for all.

    Raises:
        ValueError: a setting that does not fit, or a row that is too long.
    """
    import pyarrow
    from pyarrow import compute, parquet

    if config.pad_mode != "no_padding":
        raise ValueError(f"data.pad_mode={config.pad_mode!r}: rows of token ids are not padded; set it to 'no_padding'")
    paths = [files] if isinstance(files, str) else list(files)
    tables = [parquet.read_table(path, columns=columns) for path in paths]
    table = pyarrow.concat_tables(tables, promote_options="default")
    if max_samples > 0:
        table = table.slice(0, max_samples)
    lengths = [compute.list_value_length(table[column]).to_numpy() for column in (PROMPT, RESPONSE)]
    longest = int(sum(lengths).max())
    if longest > config.max_length:
        raise ValueError(
            f"data.max_length={config.max_length} is below the longest row's {longest} tokens; raise it, or leave long "
            "rows out"
        )
    return table


def _problem(ids: Sequence[int], weights: Sequence[float]) -> str | None:
    if len(ids) != len(weights):
        return f"has {len(ids)} ids and {len(weights)} weights; give each candidate one"
    if not ids:
        return None
    if len(set(ids)) != len(ids):
        return f"names a candidate twice ({list(ids)}); add its weights up"
    if min(ids) < 0:
        return f"has the id {min(ids)}; give token ids"
    for weight in weights:
        if not weight > 0:  # nan too
            return f"has the weight {weight}; leave candidates without weight out"
    if abs(sum(weights) - 1) > SUM_TOLERANCE:
        return f"sums to {sum(weights):g}; normalise it to 1"
    return None
