"""The one list of methods that take part in a training step: a group of settings and a stage each."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verl_softthink.config.settings import SoftThinkSettings
    from verl_softthink.methods.stage import Stage


@dataclass(frozen=True)
class Method:
    """A method is chosen by giving its group: ``softthink.<group>``.

    Attributes:
        group: field of ``SoftThinkSettings``, None where the method is not used.
        stage: "package.module:Class" of its stage, imported when the method is used.
    """

    group: str
    stage: str


#: In the order in which their stages run.
METHODS: tuple[Method, ...] = (
    # First: it decides which rows the others see.
    Method("attnrl", "verl_softthink.methods.attnrl.stage:AttnrlStage"),
    Method("repro", "verl_softthink.methods.repro.stage:ReproStage"),
    Method("variational", "verl_softthink.methods.variational.stage:VariationalStage"),
    Method("entropy_profile", "verl_softthink.methods.entropy_profile.stage:EntropyProfileStage"),
)


def chosen_stages(settings: "SoftThinkSettings") -> list[tuple[str, type["Stage"]]]:
    """Group name and stage class of every method whose settings are given, in the order of ``METHODS``."""
    return [(method.group, _load(method.stage)) for method in METHODS if getattr(settings, method.group) is not None]


def _load(stage: str) -> type["Stage"]:
    module, _, name = stage.partition(":")
    return getattr(importlib.import_module(module), name)
