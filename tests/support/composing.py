"""verl's whole configuration as its entry point would see it; a selection is composed once, for that takes seconds."""

import copy
import functools

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict


@functools.cache
def _composed(selection: tuple[str, ...]) -> DictConfig:
    import verl  # noqa: F401 - stores the recipes

    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=list(selection))


def composed(selection: list[str], *overrides: str) -> DictConfig:
    """The configuration of ``selection`` (Hydra's overrides) under plain ``overrides``: key=value, +key=value, ~key."""
    config = copy.deepcopy(_composed(tuple(selection)))
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if override.is_delete():
            parent, _, name = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            with open_dict(node):
                del node[name]
        else:
            OmegaConf.update(config, key, override.value(), force_add=override.is_add())
    return config
