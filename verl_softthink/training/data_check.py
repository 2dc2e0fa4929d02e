"""Data whose column ``agent_name`` would replace the agent loop of the recipe, row by row."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet
from omegaconf import DictConfig
from pyarrow import ArrowException

from verl_softthink.config.settings import SoftThinkSettings

_COLUMN = "agent_name"


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """A sentence for each local parquet file that chooses another agent loop than the recipe's.

    Files elsewhere are downloaded by verl's workers; of their rows those of validation are refused once they arrive.
    """
    loop = config.actor_rollout_ref.rollout.agent.default_agent_loop
    found = []
    for key, path in _local_parquet(config):
        try:
            if _COLUMN not in parquet.read_schema(path).names:
                continue
            values = parquet.read_table(path, columns=[_COLUMN])[_COLUMN].unique().to_pylist()
        except (OSError, ArrowException) as error:
            found.append(f"{key}={str(path)!r} cannot be read as parquet ({error}): make the file again")
            continue
        others = sorted(str(value) for value in values if value != loop)
        if others:
            found.append(
                f"{key}={str(path)!r} has a column {_COLUMN} with {', '.join(map(repr, others))}, which would replace "
                f"actor_rollout_ref.rollout.agent.default_agent_loop={loop!r}; remove the column from the file"
            )
    return found


def _local_parquet(config: DictConfig) -> Iterator[tuple[str, Path]]:
    for key in ("train_files", "val_files"):
        files = config.data.get(key) or []
        for file in [files] if isinstance(files, str) else files:
            path = Path(file).expanduser()
            if path.suffix == ".parquet" and path.is_file():
                yield f"data.{key}", path
