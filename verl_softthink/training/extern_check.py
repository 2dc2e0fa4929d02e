"""Code and files of the user's own that a configuration names: verl looks for them once workers are up.

Sources are read, not imported: what a module does when it is imported is for the workers.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.upstream.source_scan import names

#: Keys of a module and of the object in it.
_OBJECTS = {
    "reward.custom_reward_function.path": "reward.custom_reward_function.name",
    "reward.reward_manager.module.path": "reward.reward_manager.name",
    "data.custom_cls.path": "data.custom_cls.name",
    "trainer.v1.sampler.custom_sampler.path": "trainer.v1.sampler.custom_sampler.name",
}
_AGENT_LOOPS = "actor_rollout_ref.rollout.agent.agent_loop_config_path"
#: Under either, a module has names that its source does not show.
_HIDDEN = {"*", "__getattr__"}


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """One sentence for each module, object in one, or file that is not there."""
    from verl.utils.import_utils import resolve_config_path

    found = [*_objects(config)]
    path = OmegaConf.select(config, _AGENT_LOOPS)
    if path is not None:
        try:
            there = Path(resolve_config_path(path)).is_file()
        except FileNotFoundError:
            there = False
        if not there:
            found.append(f"{_AGENT_LOOPS}={path!r} does not exist: name a file of agent loops, or set it to null")
    return found


def _objects(config: DictConfig) -> Iterator[str]:
    from verl.utils.import_utils import PKG_PATH_PREFIX

    for key, name_key in _OBJECTS.items():
        path, name = OmegaConf.select(config, key), OmegaConf.select(config, name_key)
        if not path:
            continue
        try:
            source = _source(path)
            if source is not None and not names(source) & {name, *_HIDDEN}:
                yield f"{name_key}={name!r} is not defined in {key}={path!r}: name one of its functions or classes"
        except (ImportError, FileNotFoundError):
            yield (
                f"{key}={path!r} does not exist: give a Python file, or {PKG_PATH_PREFIX} and the name of a module "
                "that can be imported"
            )
        except (SyntaxError, UnicodeDecodeError) as error:
            yield f"{key}={path!r} is no Python: {error}; mend the file"


def _source(path: str) -> Path | None:
    """The source file of what verl would load; None where a module has none, as an extension.

    Raises:
        ImportError: no such module, or its package does not import.
        FileNotFoundError: no such file.
    """
    from verl.utils.import_utils import FILE_PATH_PREFIX, PKG_PATH_PREFIX

    if not path.startswith(PKG_PATH_PREFIX):
        source = Path(path.removeprefix(FILE_PATH_PREFIX))
        if not source.is_file():
            raise FileNotFoundError(source)
        return source
    module = path.removeprefix(PKG_PATH_PREFIX).replace("/", ".")
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin) if spec.has_location and spec.origin.endswith(".py") else None
