"""Everything that verl_softthink registers with verl and Hydra: this one list.

verl loads this module on ``import verl`` in every process of a run (entry-point group ``verl.plugins``) and swallows
whatever it raises, so the module only sets import hooks: each line below names an upstream module and the function of
ours that is called, with that module, once somebody imports it. An error in such a function fails that import.
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from verl_softthink.methods import registry
from verl_softthink.upstream import compat
from verl_softthink.upstream.hooks import when_imported

logger = logging.getLogger(__name__)


def always() -> bool:
    """The registration is wanted on every platform."""
    return True


def on_cpu() -> bool:
    """The run was asked to use the CPU: VERL_PLATFORM=cpu."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


@dataclass(frozen=True)
class After:
    """After ``module`` has been imported call ``function`` ("package.module:function") with it, if ``wanted()``."""

    module: str
    function: str
    wanted: Callable[[], bool] = always


_CORE_ALGOS = "verl.trainer.ppo.core_algos"
_FSDP_ENGINE = "verl.workers.engine.fsdp.transformer_impl"
_PLATFORMS = "verl.plugin.platform.platform_manager"
_TRAINER = "verl.trainer.ppo.v1.trainer_sync"
_TRANSFER = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"

REGISTRATIONS: tuple[After, ...] = (
    # Hydra: `+softthink=<recipe>` on the stock entry point.
    After("hydra.core.config_store", "verl_softthink.upstream.compat:check_versions"),
    After("hydra.core.config_store", "verl_softthink.training.recipe_store:register_recipes"),
    # Configuration: the `softthink:` node is checked with verl's own.
    After("verl.utils.config", "verl_softthink.training.check:register"),
    # Responses of several rows, and the policy loss reinforce_sum.
    After("verl.trainer.ppo.v1.utils", "verl_softthink.training.multi_row_responses:register"),
    After(_CORE_ALGOS, "verl_softthink.training.reinforce_sum:register"),
    # Reward functions: an exception is score 0 and counted.
    After("verl.trainer.ppo.reward", "verl_softthink.data.guarded_reward:register"),
    # Agent loop softthink_agent, before those that import it.
    After("verl.experimental.agent_loop.single_turn_agent_loop", "verl_softthink.rollout.agent_loop:register"),
    # Trainer mode softthink_sync.
    After(_TRAINER, "verl_softthink.training.trainer:register"),
    # Engine softthink_language_model, with the mixins of methods.
    After(_FSDP_ENGINE, "verl_softthink.training.engine:register"),
    # Rollout softthink_vllm.
    After("verl.workers.rollout.base", "verl_softthink.rollout.replica_registry:register_adapter"),
    After("verl.workers.rollout.replica", "verl_softthink.rollout.replica_registry:register_replica"),
    # Bounded waits.
    After(_TRANSFER, "verl_softthink.liveness.weight_transfer:register"),
    After("verl.checkpoint_engine.base", "verl_softthink.liveness.weight_sync:register"),
    # CPU platform.
    After(_PLATFORMS, "verl_softthink.cpu.platform:register", on_cpu),
    After(_PLATFORMS, "verl_softthink.cpu.distribution:register", on_cpu),
    After("verl.utils.distributed", "verl_softthink.cpu.process_group:register", on_cpu),
    After("verl.utils.fsdp_utils", "verl_softthink.cpu.placement:register", on_cpu),
    After(_FSDP_ENGINE, "verl_softthink.cpu.engine:register", on_cpu),
    After(_FSDP_ENGINE, "verl_softthink.cpu.fsdp1:register", on_cpu),
    After("vllm.model_executor.layers.utils", "verl_softthink.cpu.linear:register", on_cpu),
    After("vllm.v1.worker.gpu_model_runner", "verl_softthink.cpu.seeded_requests:register", on_cpu),
    # Agent loops, advantage estimators and losses of methods, whose modules import the agent loop above.
    *(After(module, function) for module, function in registry.registrations()),
)


def register(registrations: tuple[After, ...] = REGISTRATIONS) -> None:
    """Set an import hook for every wanted registration; VERL_SOFTTHINK_DISABLE=1 sets none."""
    if compat.disabled():
        logger.warning("VERL_SOFTTHINK_DISABLE=1: verl_softthink registers nothing with verl")
        return
    wanted = [registration for registration in registrations if registration.wanted()]
    for module in dict.fromkeys(registration.module for registration in wanted):
        when_imported(module)(compat.check_module)
    for registration in wanted:
        when_imported(registration.module)(_caller(registration.function))


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
