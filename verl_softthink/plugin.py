"""Everything that verl_softthink registers with verl and Hydra, and the one place that does it.

verl loads this module on ``import verl`` in every process of a run (entry-point group ``verl.plugins``) and swallows
whatever it raises, so the module only sets import hooks: each line below names an upstream module and the function of
ours that is called, with that module, once somebody imports it. An error in such a function fails that import.

A run without a recipe sees verl as it is: what is registered here adds names to verl's registries, or wraps a function
that passes everything on but what a recipe sends. ``tests/upstream/test_plain_run.py`` holds it to that.
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable
from types import ModuleType

from verl_softthink.cpu.registrations import REGISTRATIONS as CPU
from verl_softthink.liveness.registrations import REGISTRATIONS as BOUNDED_WAITS
from verl_softthink.methods import registry
from verl_softthink.upstream import compat
from verl_softthink.upstream.hooks import when_imported

logger = logging.getLogger(__name__)

#: After the import of a module call "package.module:function" with it.
After = tuple[str, str]

#: Those of methods stand in their records (``methods.registry``).
REGISTRATIONS: tuple[After, ...] = (
    # Hydra: `+softthink=<recipe>` on the stock entry point.
    ("hydra.core.config_store", "verl_softthink.upstream.compat:check_versions"),
    ("hydra.core.config_store", "verl_softthink.training.recipe_store:register_recipes"),
    # What recipes compute from other keys.
    ("omegaconf", "verl_softthink.training.recipe_resolvers:register"),
    # Configuration: the `softthink:` node is checked with verl's own.
    ("verl.utils.config", "verl_softthink.training.check:register"),
    # Responses of several rows, and the policy loss reinforce_sum.
    ("verl.trainer.ppo.v1.utils", "verl_softthink.training.multi_row_responses:register"),
    ("verl.trainer.ppo.core_algos", "verl_softthink.training.reinforce_sum:register"),
    # Reward functions: an exception is score 0 and counted.
    ("verl.trainer.ppo.reward", "verl_softthink.data.guarded_reward:register"),
    # Agent loop softthink_agent, before those of methods, which import it.
    ("verl.experimental.agent_loop.single_turn_agent_loop", "verl_softthink.rollout.agent_loop:register"),
    # Trainer modes softthink_sync and softthink_colocate_async.
    ("verl.trainer.ppo.v1.trainer_sync", "verl_softthink.training.trainer_modes:register"),
    # A cluster with too few slots for it is named.
    ("verl.trainer.ppo.v1", "verl_softthink.training.ray_slots:register"),
    # Engine softthink_language_model, with the mixins of methods.
    ("verl.workers.engine.fsdp.transformer_impl", "verl_softthink.training.engine:register"),
    # The same engine in verl's SFT trainer.
    ("verl.workers.engine_workers", "verl_softthink.training.soft_sft.worker:register"),
    # Rollout softthink_vllm.
    ("verl.workers.rollout.base", "verl_softthink.rollout.replica_registry:register_adapter"),
    ("verl.workers.rollout.replica", "verl_softthink.rollout.replica_registry:register_replica"),
)


def registrations() -> tuple[After, ...]:
    """All of this process.

    Ours first, then those of methods, whose agent loops import ours; those of a CPU where VERL_PLATFORM=cpu, and the
    bounded waits where they are asked for.
    """
    on_cpu = os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"
    of_methods = tuple(registry.registrations())
    return REGISTRATIONS + of_methods + (CPU if on_cpu else ()) + (BOUNDED_WAITS if compat.bounded_waits() else ())


def register() -> None:
    """Set an import hook for every registration; VERL_SOFTTHINK_DISABLE=1 sets none."""
    if compat.disabled():
        logger.warning("VERL_SOFTTHINK_DISABLE=1: verl_softthink registers nothing with verl")
        return
    compat.keep_warnings()
    chosen = registrations()
    for module in dict.fromkeys(module for module, _ in chosen):
        when_imported(module)(compat.check_module)
    for module, function in chosen:
        when_imported(module)(_caller(function))


def _caller(function: str) -> Callable[[ModuleType], None]:
    module_name, _, name = function.partition(":")

    def call(upstream: ModuleType) -> None:
        ours = importlib.import_module(module_name)
        if getattr(ours.__spec__, "_initializing", False):
            # It is our module that imports upstream, and it has not got as far as ``name``. A second copy, which finds
            # upstream imported, is finished here and takes its place: ``import`` returns what is in sys.modules.
            del sys.modules[module_name]
            ours = importlib.import_module(module_name)
        getattr(ours, name)(upstream)

    call.__qualname__ = function
    return call


def _register_loudly() -> None:
    done = False
    try:
        register()
        done = True
    finally:
        if not done:
            logger.error("verl_softthink could not be registered with verl", exc_info=sys.exc_info())


_register_loudly()
