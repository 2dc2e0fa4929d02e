"""What verl's V1 trainer takes and does not read: keys of earlier releases, and switches of its other trainers.

A script that sets one trains something else than it says, without a word.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.likelihood.checks import STRATEGIES

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
#: Seconds: verl's default of a key that it does not read.
DEFAULT_TIMEOUT = 600
#: Where keys of earlier releases are now; the longest that begins a key decides, None: nothing reads it any more.
MOVED = {
    "custom_reward_function": "reward.custom_reward_function",
    "sandbox_fusion": "reward.sandbox_fusion",
    "reward_model": "reward.reward_model",
    "reward_model.num_workers": "reward.num_workers",
    "reward_model.reward_manager": "reward.reward_manager.name",
    "reward_model.reward_loop_source": "reward.reward_manager.source",
    "reward_model.reward_loop_module_path": "reward.reward_manager.module.path",
    "reward_model.reward_loop_class_name": "reward.reward_manager.module.name",
    "reward_model.reward_kwargs": "reward.reward_kwargs",
    "reward_model.model": None,
    "reward_model.model.path": "reward.reward_model.model_path",
}
#: The groups of configuration that these keys are in.
_GROUPS = ("custom_reward_function", "reward_model", "sandbox_fusion")


@dataclass(frozen=True)
class Unread:
    """A setting that nothing reads.

    Attributes:
        key: in verl's configuration.
        asks: whether a value asks for something, in a configuration.
        sentence: what is read, and the fix.
    """

    key: str
    asks: Callable[[object, DictConfig], bool]
    sentence: str


def _false(value: object, config: DictConfig) -> bool:
    return value is False


def _says_otherwise(value: object, config: DictConfig) -> bool:
    """Sampling or greedy answers where the temperature says the other; recipes with a law set True by themselves."""
    samples = bool(config.actor_rollout_ref.rollout.val_kwargs.temperature)
    return (samples and not value) or (not samples and value and OmegaConf.select(config, "softthink.law") is None)


def _covered_clip(value: object, config: DictConfig) -> bool:
    """Another ``clip_ratio`` than verl's default under the default of both keys that cover it."""
    from verl.workers.config import ActorConfig

    actor = config.actor_rollout_ref.actor
    return value != ActorConfig.clip_ratio and (actor.clip_ratio_low, actor.clip_ratio_high) == (
        ActorConfig.clip_ratio_low,
        ActorConfig.clip_ratio_high,
    )


def _clips_elsewhere(value: object, config: DictConfig) -> bool:
    from verl.workers.config import FSDPActorConfig

    return value not in (FSDPActorConfig.grad_clip, config.actor_rollout_ref.actor.optim.clip_grad)


def _critic_clips_elsewhere(value: object, config: DictConfig) -> bool:
    from verl.workers.config import FSDPCriticConfig

    return value not in (FSDPCriticConfig.grad_clip, config.critic.optim.clip_grad)


def _adapts_other_engine(value: object, config: DictConfig) -> bool:
    return (value or 0) > 0 and config.actor_rollout_ref.actor.strategy in STRATEGIES


def _is_set(value: object, config: DictConfig) -> bool:
    return bool(value)


def _other_timeout(value: object, config: DictConfig) -> bool:
    return value != DEFAULT_TIMEOUT


def _warms_no_critic(value: object, config: DictConfig) -> bool:
    has_critic = config.critic.enable or (config.critic.enable is None and config.algorithm.adv_estimator == "gae")
    return value > 1 and not has_critic


UNREAD = (
    Unread(
        f"{_ACTOR}.clip_ratio",
        _covered_clip,
        "verl reads clip_ratio_low and clip_ratio_high, which have a value already; set both",
    ),
    Unread(
        f"{_ACTOR}.grad_clip",
        _clips_elsewhere,
        f"verl's FSDP engine reads {_ACTOR}.optim.clip_grad; set that",
    ),
    Unread(
        "critic.grad_clip",
        _critic_clips_elsewhere,
        "verl's FSDP engine reads critic.optim.clip_grad; set that",
    ),
    Unread(
        f"{_ROLLOUT}.over_sample_rate",
        _is_set,
        "verl's V1 trainer does not read it; set it to 0",
    ),
    Unread(
        f"{_ACTOR}.use_prefix_grouper",
        _is_set,
        "verl's V1 trainer does not read it; set it to False",
    ),
    Unread(
        "actor_rollout_ref.model.tiled_mlp.enabled",
        _is_set,
        "verl's FSDP engine does not read it; set it to False",
    ),
    Unread(
        "actor_rollout_ref.hybrid_engine",
        _false,
        "only trainer.v1.trainer_mode=separate_async reads it; set it to True",
    ),
    Unread(
        f"{_ROLLOUT}.do_sample",
        _false,
        f"verl's V1 trainer does not read it and samples with {_ROLLOUT}.temperature; set it to True",
    ),
    Unread(
        f"{_ROLLOUT}.val_kwargs.do_sample",
        _says_otherwise,
        "verl's V1 trainer does not read it and samples with val_kwargs.temperature; let them say the same, 0 being "
        "greedy",
    ),
    Unread(
        "actor_rollout_ref.model.lora.rank",
        _adapts_other_engine,
        "a key of Megatron's: the FSDP engine would train the whole model; set actor_rollout_ref.model.lora_rank, and "
        "this one to 0",
    ),
    Unread(
        "trainer.val_only",
        lambda value, config: bool(value) and not config.trainer.val_before_train,
        "verl reads it where trainer.val_before_train=True alone and would train; set that to True",
    ),
    Unread(
        "trainer.critic_warmup",
        _warms_no_critic,
        "there is no critic to warm up, and no step before that one would train the actor; set it to 0",
    ),
    Unread(
        f"{_ACTOR}.freeze_vision_tower",
        _is_set,
        "nothing in verl reads it, and the tower would be trained; set it to False",
    ),
    Unread(
        f"{_ROLLOUT}.multi_stage_wake_up",
        _is_set,
        "nothing in verl reads it; set it to False",
    ),
    Unread(
        f"{_ROLLOUT}.multi_turn.num_repeat_rollouts",
        _is_set,
        f"nothing in verl reads it; {_ROLLOUT}.n says how many responses a prompt gets, set this one to null",
    ),
    Unread(
        "data.return_raw_input_ids",
        _is_set,
        "nothing in verl reads it; set it to False",
    ),
    Unread(
        "actor_rollout_ref.nccl_timeout",
        _other_timeout,
        f"nothing in verl reads it; set it to {DEFAULT_TIMEOUT}",
    ),
    Unread(
        "trainer.balance_batch",
        _false,
        "verl's V1 trainer balances every batch; set it to True",
    ),
    Unread(
        "trainer.esi_redundant_time",
        _is_set,
        "verl's V1 trainer does not read it, and saves nothing when the machine is about to be taken away; set it to "
        "0, and trainer.save_freq",
    ),
)


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """One sentence for each setting that verl would take and not read."""
    switches = [(entry, OmegaConf.select(config, entry.key)) for entry in UNREAD]
    found = [f"{entry.key}={value!r}: {entry.sentence}" for entry, value in switches if entry.asks(value, config)]
    return [*_earlier_keys(config), *found]


def _earlier_keys(config: DictConfig) -> Iterator[str]:
    for group in _GROUPS:
        for key, value in _leaves(config.get(group), group):
            new = moved(key)
            if value is None or (new is not None and OmegaConf.select(config, new) == value):
                continue
            fix = "remove it" if new is None else f"set {new}"
            yield f"{key}={value!r}: a key of earlier releases, which verl's main_ppo takes and does not read; {fix}"


def _leaves(node: object, prefix: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, DictConfig):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}")
    else:
        yield prefix, node


def moved(key: str) -> str | None:
    """Where an earlier key is now; None where nothing reads it any more."""
    begun = max((old for old in MOVED if f"{key}.".startswith(f"{old}.")), key=len)
    new = MOVED[begun]
    return None if new is None else new + key.removeprefix(begun)
