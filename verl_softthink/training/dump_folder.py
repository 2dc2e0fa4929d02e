"""The folder of a run's dumps (``trainer.rollout_data_dir``): of one run alone, which may be stopped and resumed."""

from pathlib import Path

from omegaconf import DictConfig

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.files.digests import file_digest, model_digest
from verl_softthink.files.work_folder import WorkFolder

#: How the settings say how passes are computed, not what is computed: a resumed run may change them.
_FREE = {"likelihood"}


def dump_folder(config: DictConfig, settings: SoftThinkSettings) -> WorkFolder | None:
    """The folder, held until the process ends or it is closed; None where the run keeps no dumps.

    Args:
        config: verl's.
        settings: its node ``softthink``, checked.

    Raises:
        FileError: it has dumps of another model, other data or other settings, or another run is writing to it.
    """
    path = config.trainer.get("rollout_data_dir")
    if not path:
        return None
    model = config.actor_rollout_ref.model.path
    inputs = {
        "model": model if _elsewhere(model) else model_digest(Path(model).expanduser()),
        "data": {file: file if _elsewhere(file) else file_digest(Path(file).expanduser()) for file in _files(config)},
        "softthink": settings.model_dump(mode="json", exclude=_FREE),
    }
    return WorkFolder(Path(path), inputs, option="trainer.rollout_data_dir")


def _files(config: DictConfig) -> list[str]:
    files = config.data.train_files
    return [files] if isinstance(files, str) else list(files or ())


def _elsewhere(path: str) -> bool:
    """Whether verl's workers fetch it from another machine."""
    return "://" in path
