"""The engine ``softthink_language_model`` of a run: soft traces, soft targets, and the mixins of all methods."""

from types import ModuleType

from verl_softthink.likelihood import engine
from verl_softthink.methods import registry
from verl_softthink.training.soft_sft.engine import SoftTargetTraining


def register(engines: ModuleType) -> None:
    """``verl.workers.engine.fsdp.transformer_impl``: add the engine."""
    engine.register(engines, (*registry.parts("engine"), SoftTargetTraining))
