"""What a configuration asks of the rollout that soft tokens or a method's own loop would ignore, or fail on late."""

from omegaconf import DictConfig, ListConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.rollout import engine_settings
from verl_softthink.rollout.replica_registry import ROLLOUT_NAME

_ROLLOUT = "actor_rollout_ref.rollout"
#: verl's own keys for settings of vLLM; every other one is an entry of ``engine_kwargs.vllm``, which has precedence.
_KEYS = {
    "pipeline_parallel_size": f"{_ROLLOUT}.pipeline_model_parallel_size",
    "scheduling_policy": f"{_ROLLOUT}.scheduling_policy",
    "enable_return_routed_experts": f"{_ROLLOUT}.enable_rollout_routing_replay",
}
_QUANTISED = (f"{_ROLLOUT}.quantization", f"{_ROLLOUT}.engine_kwargs.vllm.quantization")
_EMBEDDING = "embed_tokens"
#: verl's name, which stands in every script, and that of the server which the trainer puts in its place.
SOFT_ROLLOUTS = ("vllm", ROLLOUT_NAME)


def soft_problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """One sentence for each setting of the rollout with which soft requests would be wrong, or ignored."""
    problems, name = _engine_problems(config), OmegaConf.select(config, f"{_ROLLOUT}.name")
    if name not in SOFT_ROLLOUTS:
        problems.append(
            f"{_ROLLOUT}.name={name!r}: soft tokens are rolled out by vLLM alone; set it to 'vllm', or remove the "
            "override"
        )
    if OmegaConf.select(config, f"{_ROLLOUT}.enable_prefix_caching") and not settings.rollout.prefix_cache_salt:
        problems.append(
            f"softthink.rollout.prefix_cache_salt=False with {_ROLLOUT}.enable_prefix_caching=True: keys of cached "
            "blocks must tell what was fed at soft positions; set the salt to True or turn prefix caching off"
        )
    problems += [
        f"{key}={value!r}: densities of the quantised rollout are not those of the model that is trained; set it to "
        "null"
        for key in _QUANTISED
        if (value := OmegaConf.select(config, key)) is not None
    ]
    if OmegaConf.select(config, f"{_ROLLOUT}.qat.enable"):
        problems.append(
            f"{_ROLLOUT}.qat.enable=True: the density of a mixture has not been checked with quantised weights; set "
            "actor_rollout_ref.actor.fsdp_config.qat.enable=False"
        )
    if all(OmegaConf.select(config, f"{_ROLLOUT}.mtp.{switch}") for switch in ("enable", "enable_rollout")):
        reason = engine_settings.NEEDED["speculative_config"][1]
        problems.append(f"{_ROLLOUT}.mtp.enable_rollout=True: {reason}; set it to False")
    temperature = OmegaConf.select(config, f"{_ROLLOUT}.val_kwargs.temperature")
    if settings.rollout.validation == "soft" and temperature == 0:
        problems.append(
            f"{_ROLLOUT}.val_kwargs.temperature=0 with softthink.rollout.validation='soft': thoughts are drawn all the "
            "same, so validation would not be greedy; set the temperature to 1.0, or softthink.rollout.validation="
            "discrete"
        )
    return problems


def _engine_problems(config: DictConfig) -> list[str]:
    given = OmegaConf.select(config, f"{_ROLLOUT}.engine_kwargs.vllm") or {}
    found = []
    for setting, (needed, _) in engine_settings.NEEDED.items():
        places = [_KEYS[setting]] if setting in _KEYS else []
        places += [f"{_ROLLOUT}.engine_kwargs.vllm.{setting}"] if setting in given else []
        for key in places:
            value = OmegaConf.select(config, key, default=needed)
            found.append(engine_settings.problem(setting, value, key))
    return [sentence for sentence in found if sentence is not None]


def common_problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """The same for every recipe, with or without a law."""
    problems, model = [], config.actor_rollout_ref.model
    if OmegaConf.select(config, f"{_ROLLOUT}.multi_turn.enable"):
        problems.append(
            f"{_ROLLOUT}.multi_turn.enable=True: the agent loops of verl_softthink answer a prompt in one turn and "
            "would ignore it; set it to False"
        )
    targets = model.get("target_modules")
    named = list(targets) if isinstance(targets, ListConfig) else [str(targets)]
    if (model.get("lora_rank") or 0) > 0 and any(_EMBEDDING in name for name in named):
        problems.append(
            f"actor_rollout_ref.model.target_modules={OmegaConf.to_container(model)['target_modules']!r} adapts the "
            f"input embedding, through which mixtures are fed; leave {_EMBEDDING!r} out"
        )
    return problems
