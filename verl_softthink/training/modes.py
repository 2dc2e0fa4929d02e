"""The trainer modes of a recipe: verl's own modes by name, with what ``training.trainer`` adds to each."""

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.methods import registry
from verl_softthink.training import reinforce_sum

KEY = "trainer.v1.trainer_mode"
SYNC, COLOCATE_ASYNC = "softthink_sync", "softthink_colocate_async"
#: verl's name of a mode, and the name under which ours is registered.
MODES = {"sync": SYNC, "colocate_async": COLOCATE_ASYNC}
_LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
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
    return [] if MODES[mode] == SYNC else _asynchronous(mode, config, settings)


def _asynchronous(mode: str, config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    found = [
        f"{KEY}={mode!r} with softthink.{method.group}, which needs responses that the policy of a step has drawn for "
        f"this step: set the mode to sync, or leave out the recipe {method.group}"
        for method in registry.chosen(settings)
        if registry.ON_POLICY in method.needs
    ]
    if OmegaConf.select(config, _LOSS) == reinforce_sum.NAME:
        found.append(
            f"{KEY}={mode!r} with {_LOSS}={reinforce_sum.NAME!r}, which has no ratio to the older policies that its "
            "responses are of: set the mode to sync, or the loss to vanilla"
        )
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
