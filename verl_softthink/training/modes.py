"""The trainer modes of a recipe: verl's own modes by name, with what ``training.trainer`` adds to each."""

from omegaconf import DictConfig

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.methods import registry

KEY = "trainer.v1.trainer_mode"
SYNC, COLOCATE_ASYNC = "softthink_sync", "softthink_colocate_async"
#: verl's name of a mode, and the name under which ours is registered.
MODES = {"sync": SYNC, "colocate_async": COLOCATE_ASYNC}
_VERL_NAMES = {ours: verls for verls, ours in MODES.items()}


def verl_mode(config: DictConfig) -> str:
    """verl's name of the mode that a configuration chooses, under either name."""
    mode = config.trainer.v1.trainer_mode
    return _VERL_NAMES.get(mode, mode)


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """A sentence for a mode that no recipe has, or one for each setting that the chosen mode cannot honour."""
    mode = verl_mode(config)
    if mode not in MODES:
        return [f"{KEY}={mode!r}: recipes have the modes {' and '.join(MODES)} (or {' and '.join(_VERL_NAMES)})"]
    return [] if MODES[mode] == SYNC else _asynchronous(mode, settings)


def _asynchronous(mode: str, settings: SoftThinkSettings) -> list[str]:
    found = [
        f"{KEY}={mode!r} with softthink.{method.group}, which decides itself what is rolled out in which step: set the "
        f"mode to sync, or leave out the recipe {method.group}"
        for method in registry.chosen(settings)
        if registry.OWN_ROLLOUTS in method.needs
    ]
    if settings.law is not None and settings.law.rebuilds_embedding:
        found.append(
            f"{KEY}={mode!r} with softthink.law.fed='seed', which rebuilds fed embeddings from the table of the model "
            "that scores them, and that has moved since a response began: set softthink.law.fed=embedding, or the mode "
            "to sync"
        )
    return found


def select(config: DictConfig) -> None:
    """Put our name of the mode in place of verl's, under which verl's entry point finds our trainer."""
    config.trainer.v1.trainer_mode = MODES[verl_mode(config)]
