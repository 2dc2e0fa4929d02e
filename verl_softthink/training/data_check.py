"""Data whose column ``agent_name`` would replace the agent loop of the recipe, row by row."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet
from omegaconf import DictConfig
from pyarrow import ArrowException

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.training.agent_column import AGENT, replaced_loop


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """A sentence for each local parquet file that chooses another agent loop than the recipe's.

    Files elsewhere, and of other formats, are refused once verl has loaded them (``agent_column.check_loaded``).
    """
    loop = config.actor_rollout_ref.rollout.agent.default_agent_loop
    found = []
    for key, path in _local_parquet(config):
        try:
            if AGENT not in parquet.read_schema(path).names:
                continue
            values = parquet.read_table(path, columns=[AGENT])[AGENT].unique().to_pylist()
        except (OSError, ArrowException) as error:
            found.append(f"{key}={str(path)!r} cannot be read as parquet ({error}): make the file again")
            continue
        found.append(replaced_loop(f"{key}={str(path)!r}", values, loop))
    return [sentence for sentence in found if sentence is not None]


def _local_parquet(config: DictConfig) -> Iterator[tuple[str, Path]]:
    for key in ("train_files", "val_files"):
        files = config.data.get(key) or []
        for file in [files] if isinstance(files, str) else files:
            path = Path(file).expanduser()
            if path.suffix == ".parquet" and path.is_file():
                yield f"data.{key}", path
