"""The engine ``softthink_language_model`` of a run: the likelihood of soft traces, with the mixins of all methods."""

from types import ModuleType

from verl_softthink.likelihood import engine
from verl_softthink.methods import registry


def register(engines: ModuleType) -> None:
    """``verl.workers.engine.fsdp.transformer_impl``: add the engine."""
    engine.register(engines, registry.parts("engine"))
