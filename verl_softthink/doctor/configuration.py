"""A verl command line, composed as verl composes it, and every check that can be made before a worker starts."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from verl_softthink.doctor.findings import Finding, failure, ok, warning
from verl_softthink.doctor.libraries import INSTALL_FLASH_ATTENTION
from verl_softthink.standalone import choose_platform

if TYPE_CHECKING:
    from omegaconf import DictConfig

CHECK = "configuration"


def compose(overrides: list[str]) -> "DictConfig":
    """``verl.trainer.main_ppo``'s configuration with ``overrides``.

    Raises:
        ValueError: verl cannot compose it.
    """
    choose_platform()
    import verl  # noqa: F401  (loads the plugin, which registers the recipes)
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            return compose("ppo_trainer", overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"verl cannot compose it: {' '.join(str(error).split())}") from error


def configuration_findings(overrides: list[str]) -> list[Finding]:
    """Compose ``overrides`` and check the whole; run in a process of its own."""
    try:
        return judged(compose(overrides))
    except ValueError as error:
        return [failure(CHECK, str(error))]


def judged(config: "DictConfig") -> list[Finding]:
    """Whether a run of this configuration will work: a failure where it certainly ends, a warning where it may."""
    found = [*_softthink(config), *_verl(config), *_attention(config), *_files(config), *_lengths(config)]
    found += _likely_mistakes(config)
    if not found:
        from verl_softthink.doctor.lengths import history_findings

        found = [ok(CHECK, "It composes, and every check passes."), *history_findings(config, CHECK)]
    return found


def _softthink(config) -> list[Finding]:
    from verl_softthink.laws import get_law
    from verl_softthink.training.check import check_config

    if "softthink" not in config:
        return [
            warning(CHECK, "No soft recipe is selected, so this is an ordinary verl run: add +softthink=soft_grpo.")
        ]
    try:
        settings = check_config(config)
    except ValueError as error:
        lines = str(error).splitlines()
        # The first line of a list of problems announces it.
        return [failure(CHECK, line) for line in (lines[1:] if lines[0].endswith(":") else lines)]
    if settings.law is None:
        return []
    advice = get_law(settings.law.name).advice(settings.law.parameters, top_p=settings.filter.top_p)
    return [warning(CHECK, sentence) for sentence in advice]


def _verl(config) -> list[Finding]:
    """verl's own validation, without the ``softthink`` node, which has been checked."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    plain = OmegaConf.masked_copy(config, [key for key in config if key != "softthink"])
    plain.actor_rollout_ref.rollout.custom = None
    try:
        validate_config(plain, use_reference_policy=need_reference_policy(plain), use_critic=need_critic(plain))
    # The last: verl reads keys that only another strategy's configuration has.
    except (AssertionError, ValueError, HydraException, OmegaConfBaseException) as error:
        return [failure(CHECK, f"verl refuses it: {' '.join(str(error).split())}")]
    return []


def _attention(config) -> list[Finding]:
    from verl.utils.device import get_device_name

    model = config.actor_rollout_ref.model
    if get_device_name() == "cpu" and config.trainer.device != "cpu":
        return [
            failure(CHECK, f"trainer.device={config.trainer.device!r} on a CPU: select '+softthink=[cpu,<recipe>]'.")
        ]
    implementation = (model.get("override_config") or {}).get("attn_implementation", "flash_attention_2")
    if implementation == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        return [
            failure(
                CHECK,
                "actor_rollout_ref.model.override_config.attn_implementation is flash_attention_2, and flash-attn is "
                f"not installed: {INSTALL_FLASH_ATTENTION}, or add "
                "+actor_rollout_ref.model.override_config.attn_implementation=sdpa.",
            )
        ]
    return []


def _files(config) -> list[Finding]:
    problems = []
    for key in ("train_files", "val_files"):
        files = config.data[key]
        for file in [files] if isinstance(files, str) else files or []:
            local = "://" not in file
            if local and not Path(file).expanduser().exists():
                problems.append(
                    failure(CHECK, f"data.{key}={file!r} does not exist: make it with verl-softthink data.")
                )
            elif not local:
                problems.append(
                    warning(
                        CHECK,
                        f"data.{key}={file!r} is not on this machine and was not looked at: that it exists, and "
                        "that no column agent_name replaces the agent loop, is checked once the trainer loads it.",
                    )
                )
    return problems


def _lengths(config) -> list[Finding]:
    from verl_softthink.doctor.lengths import length_findings

    return length_findings(config, CHECK)


def _likely_mistakes(config) -> list[Finding]:
    problems = []
    rollout = config.actor_rollout_ref.rollout
    if config.algorithm.adv_estimator == "grpo" and rollout.n == 1:
        problems.append(
            warning(
                CHECK,
                "actor_rollout_ref.rollout.n=1 with algorithm.adv_estimator=grpo: a group of one response has no "
                "baseline; set rollout.n to 8 or so.",
            )
        )
    if config.data.truncation != "error" and not config.data.filter_overlong_prompts:
        problems.append(
            warning(
                CHECK,
                f"data.truncation={config.data.truncation!r}: verl cuts no prompt, and one of more than "
                "data.max_prompt_length tokens takes what it has too many from its response; leave such prompts out "
                "with data.filter_overlong_prompts=True.",
            )
        )
    return problems
