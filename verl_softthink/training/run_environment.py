"""What the shell tells the processes of a run: workers of a Ray cluster that was there before do not inherit it.

verl hands ``ray_kwargs.ray_init.runtime_env`` to every process of the run, unresolved, so that a recipe cannot name the
shell's variables there.
"""

import os

from omegaconf import DictConfig, OmegaConf, open_dict

from verl_softthink.liveness import limits
from verl_softthink.upstream import compat

#: Bounds on waiting, strictness, and where verl's file logger writes.
FORWARDED = (limits.TRANSFER, limits.SYNC, limits.SILENCE, compat.STRICT, "VERL_FILE_LOGGER_PATH")
_VARIABLES = "ray_kwargs.ray_init.runtime_env.env_vars"


def forward(config: DictConfig) -> None:
    """Add what this process's environment has of ``FORWARDED`` to that of the run; what stands there stays.

    Raises:
        ValueError: a bound is no number of seconds, or the switch neither on nor off.
    """
    for value in (limits.transfer_timeout_s, limits.sync_timeout_s, limits.silence_timeout_s, compat.strict):
        value()
    given = OmegaConf.select(config, _VARIABLES) or {}
    with open_dict(config):
        for name in FORWARDED:
            if name in os.environ and name not in given:
                OmegaConf.update(config, f"{_VARIABLES}.{name}", os.environ[name], force_add=True)
