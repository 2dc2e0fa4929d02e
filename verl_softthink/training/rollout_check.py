"""What a configuration asks of the rollout that soft tokens or a method's own loop would ignore, or fail on late."""

import functools

from omegaconf import DictConfig, ListConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.rollout import engine_settings
from verl_softthink.rollout.replica_registry import ROLLOUT_NAME
from verl_softthink.upstream.source_scan import keys, names, package_folder

_ROLLOUT = "actor_rollout_ref.rollout"
#: verl's own keys for settings of vLLM; every other one is an entry of ``engine_kwargs.vllm``, which has precedence.
_KEYS = {
    "pipeline_parallel_size": f"{_ROLLOUT}.pipeline_model_parallel_size",
    "scheduling_policy": f"{_ROLLOUT}.scheduling_policy",
    "enable_return_routed_experts": f"{_ROLLOUT}.enable_rollout_routing_replay",
}
_VLLM = f"{_ROLLOUT}.engine_kwargs.vllm"
#: Keys that choose a quantised rollout, and their values that do not.
_QUANTISED = {
    f"{_ROLLOUT}.quantization": (None,),
    f"{_VLLM}.quantization": (None,),
    f"{_VLLM}.kv_cache_dtype": (None, "auto", "bfloat16", "float16", "float32"),
}
#: Sizes that verl computes with as well, from its own keys of the same name.
_READ_BY_VERL = ("max_model_len", "tensor_parallel_size", "data_parallel_size")
_OWN_NAMES = {"tensor_parallel_size": "tensor_model_parallel_size"}
#: Where vLLM's server declares its settings, as fields of these classes: of the engine, and of the server, whose file
#: has moved between releases.
_ENGINE_FILE = "engine/arg_utils.py"
_SERVER_FILES = ("entrypoints/openai/cli_args.py", "entrypoints/launchers/cli_args.py")
_DECLARING = ("EngineArgs", "AsyncEngineArgs", "BaseFrontendArgs", "FrontendArgs")
_EMBEDDING = "embed_tokens"
#: verl's name, which stands in every script, and that of the server which the trainer puts in its place.
SOFT_ROLLOUTS = ("vllm", ROLLOUT_NAME)
#: Where vLLM writes out its loaders of weights.
_LOADERS = ("model_executor/model_loader/__init__.py", "_LOAD_FORMAT_TO_MODEL_LOADER")


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
        for key, plain in _QUANTISED.items()
        if (value := OmegaConf.select(config, key)) not in plain
    ]
    if OmegaConf.select(config, f"{_ROLLOUT}.disaggregation.enabled"):
        problems.append(
            f"{_ROLLOUT}.disaggregation.enabled=True: prefill and decoding in different engines would part a soft "
            "request from its history; set it to False"
        )
    if OmegaConf.select(config, "skip.rollout_tq.enable"):
        problems.append(
            "skip.rollout_tq.enable=True: rollouts that are read from disk may be of another law or filter, which "
            "their files do not tell; set it to False"
        )
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
    problems += _vllm_problems(config)
    targets = model.get("target_modules")
    named = list(targets) if isinstance(targets, ListConfig) else [str(targets)]
    if (model.get("lora_rank") or 0) > 0 and any(_EMBEDDING in name for name in named):
        problems.append(
            f"actor_rollout_ref.model.target_modules={OmegaConf.to_container(model)['target_modules']!r} adapts the "
            f"input embedding, through which mixtures are fed; leave {_EMBEDDING!r} out"
        )
    return problems


def _vllm_problems(config: DictConfig) -> list[str]:
    """Settings that verl hands on to vLLM, and reads elsewhere itself, or that this vLLM does not have."""
    given = OmegaConf.select(config, _VLLM) or {}
    problems = []
    for name, value in given.items():
        own = f"{_ROLLOUT}.{_OWN_NAMES.get(name, name)}"
        if name in _READ_BY_VERL and value not in (None, OmegaConf.select(config, own)):
            problems.append(f"{_VLLM}.{name}={value!r}: verl computes with {own} and would not know; set that")
        # verl leaves the others out.
        handed_on = value is not None and value is not False and value != []
        if handed_on and _server_settings() and name.replace("-", "_") not in _server_settings():
            problems.append(f"{_VLLM}.{name}={value!r}: the installed vLLM's server has no such setting; remove it")
    loader, loaders = OmegaConf.select(config, f"{_ROLLOUT}.load_format"), _load_formats()
    if OmegaConf.select(config, f"{_ROLLOUT}.name") in SOFT_ROLLOUTS and loaders and loader not in loaders:
        problems.append(
            f"{_ROLLOUT}.load_format={loader!r}: the installed vLLM knows {', '.join(sorted(loaders))}; use dummy, for "
            "the trainer sends the weights, or safetensors with LoRA"
        )
    return problems


@functools.cache
def _server_settings() -> frozenset[str]:
    """Names of the settings of the installed vLLM's server, from its sources; none where these are not found."""
    folder = package_folder("vllm")
    sources = [] if folder is None else [folder / file for file in _SERVER_FILES if (folder / file).is_file()]
    if not sources:
        return frozenset()
    found = {name.partition(".") for source in (folder / _ENGINE_FILE, *sources) for name in names(source)}
    return frozenset(setting for owner, _, setting in found if owner in _DECLARING)


def _load_formats() -> frozenset[str]:
    """Values of ``load_format`` that the installed vLLM knows; none where there is no vLLM."""
    folder, (file, dictionary) = package_folder("vllm"), _LOADERS
    return frozenset() if folder is None else keys(folder / file, dictionary)
