"""Local data against what a run reads of it: columns, chats, rows for a batch, and no other agent loop row by row."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from omegaconf import DictConfig
from pyarrow import ArrowException

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.training.agent_column import AGENT, replaced_loop

_FILES = ("train_files", "val_files")
#: What verl's reward managers read of a row.
_GRADED_BY = ("data_source", "reward_model")
_WRITTEN = "verl-softthink data writes such files"


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """A sentence for each local parquet file that a run would end on, or that chooses another agent loop.

    Files elsewhere, and of other formats, are refused once verl has loaded them (``agent_column.check_loaded``).
    """
    found, rows = [], []
    for key in _FILES:
        if not _given(config, key):
            found.append(f"data.{key}={config.data.get(key)!r}: verl reads both train_files and val_files; name a file")
        for path in _paths(config, key):
            try:
                found += _file_problems(config, f"data.{key}={str(path)!r}", path)
                rows += [parquet.read_metadata(path).num_rows] if key == "train_files" else []
            except (OSError, ArrowException) as error:
                found.append(f"data.{key}={str(path)!r} cannot be read as parquet ({error}): make the file again")
    if rows and len(rows) == len(_given(config, "train_files")):
        found += too_few_rows(config, sum(rows))
    return found


def too_few_rows(config: DictConfig, rows: int) -> list[str]:
    """A sentence where training data do not fill one batch of a run that trains: an epoch would have no step."""
    samples, batch = config.data.get("train_max_samples", -1), config.data.train_batch_size
    rows = min(rows, samples) if samples > 0 else rows
    if rows >= batch or config.trainer.val_only:
        return []
    return [
        f"data.train_batch_size={batch} is more than the {rows} rows of data.train_files (of which "
        f"data.train_max_samples={samples}): an epoch would have no step; lower it, and "
        "actor_rollout_ref.actor.ppo_mini_batch_size with it, or give more rows"
    ]


def _file_problems(config: DictConfig, where: str, path: Path) -> Iterator[str]:
    schema = parquet.read_schema(path)
    if AGENT in schema.names:
        values = parquet.read_table(path, columns=[AGENT])[AGENT].unique().to_pylist()
        loop = replaced_loop(where, values, config.actor_rollout_ref.rollout.agent.default_agent_loop)
        yield from [] if loop is None else [loop]
    if config.data.custom_cls.path:
        # A data set of the user's own makes rows of whatever it likes.
        return
    prompt = config.data.prompt_key
    if prompt not in schema.names:
        yield (
            f"data.prompt_key={prompt!r} is no column of {where}, which has {', '.join(schema.names)}: name the column "
            f"of chats; {_WRITTEN}"
        )
    elif not _holds_lists(schema.field(prompt).type):
        yield (
            f"{where}: its column {prompt!r} (data.prompt_key) holds {schema.field(prompt).type}, where verl reads a "
            f"list of messages with role and content; {_WRITTEN}"
        )
    missing = [name for name in _GRADED_BY if name not in schema.names]
    if missing and config.reward.reward_manager.source == "register":
        yield (
            f"{where} has no column {' and '.join(missing)}, which reward.reward_manager.name="
            f"{config.reward.reward_manager.name} reads; {_WRITTEN}"
        )


def _holds_lists(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _given(config: DictConfig, key: str) -> list[str]:
    files = config.data.get(key) or []
    return [files] if isinstance(files, str) else list(files)


def _paths(config: DictConfig, key: str) -> Iterator[Path]:
    """Local parquet files."""
    for file in _given(config, key):
        path = Path(file).expanduser()
        if path.suffix == ".parquet" and path.is_file():
            yield path
