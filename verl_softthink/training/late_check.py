"""What verl takes on the driver and ends on once workers are up, or while it waits for them."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.training import ray_slots
from verl_softthink.training.recipe_resolvers import LOCAL

_ACTOR, _ROLLOUT, _REF = (f"actor_rollout_ref.{role}" for role in ("actor", "rollout", "ref"))
_LENGTHS = ("data.max_prompt_length", "data.max_response_length")
#: Switches, and what verl imports where they are on.
_PACKAGES = {"actor_rollout_ref.model.use_liger": "liger_kernel"}
#: Packages of loggers whose names are others.
_LOGGER_PACKAGES = {"tracking": "wandb", "vemlp_wandb": "volcengine_ml_platform"}
#: Loggers that need no package of their own.
_OWN_LOGGERS = ("console", "file")
_RESUME_MODES = ("auto", "disable", "resume_path")
_STEP = "global_step_"
#: Sizes of micro-batches in keys of earlier releases.
_BATCHES = (f"{_ACTOR}.ppo_micro_batch_size", f"{_ROLLOUT}.log_prob_micro_batch_size")
#: Tokens of a micro-batch, and the switch under which they are read.
_TOKENS = {
    f"{_ACTOR}.ppo_max_token_len_per_gpu": f"{_ACTOR}.use_dynamic_bsz",
    f"{_ROLLOUT}.log_prob_max_token_len_per_gpu": f"{_ACTOR}.use_dynamic_bsz",
    f"{_REF}.log_prob_max_token_len_per_gpu": f"{_REF}.log_prob_use_dynamic_bsz",
}


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """One sentence for each setting with which a run ends after its start, or hangs in it."""
    checks = (_lengths, _loss, _critic, _resume, _packages, _loggers, _micro_batches, _token_budgets, _devices, _filter)
    return [sentence for check in checks for sentence in check(config)]


def _lengths(config: DictConfig) -> Iterator[str]:
    for key in _LENGTHS:
        value = OmegaConf.select(config, key)
        if not isinstance(value, int) or value < 1:
            yield f"{key}={value!r}: set a positive number of tokens"


def _loss(config: DictConfig) -> Iterator[str]:
    loss = config.actor_rollout_ref.actor.policy_loss
    if loss.loss_mode == "dro" and not loss.get("dro_beta"):
        yield (
            f"{_ACTOR}.policy_loss.dro_beta={loss.get('dro_beta')} with loss_mode=dro: it is the weight of the squared "
            "log-ratio; set a positive number"
        )


def _critic(config: DictConfig) -> Iterator[str]:
    estimator, critic = config.algorithm.adv_estimator, config.critic.enable
    if config.trainer.device == "cpu" and (critic or (critic is None and estimator == "gae")):
        yield (
            f"algorithm.adv_estimator={estimator} with critic.enable={critic}: verl's critic has not been run on a "
            "CPU; use an estimator without one, e.g. grpo, and critic.enable=null"
        )


def _resume(config: DictConfig) -> Iterator[str]:
    mode, path = config.trainer.resume_mode, config.trainer.resume_from_path
    if mode not in _RESUME_MODES:
        yield f"trainer.resume_mode={mode!r} is unknown; use one of {', '.join(_RESUME_MODES)}"
    elif mode == "resume_path":
        step = str(path).rpartition(_STEP)[2] if _STEP in str(path) else ""
        if not step.isdigit() or not Path(path).is_dir():
            yield (
                f"trainer.resume_from_path={path!r} with trainer.resume_mode=resume_path: give the folder of a "
                f"checkpoint, whose name is {_STEP} and the step's number"
            )


def _packages(config: DictConfig) -> Iterator[str]:
    for key, package in _PACKAGES.items():
        if OmegaConf.select(config, key) and importlib.util.find_spec(package) is None:
            yield f"{key}=True needs the package {package}, which is not installed: install it, or set it to False"


def _loggers(config: DictConfig) -> Iterator[str]:
    from verl.utils.tracking import Tracking

    given = config.trainer.logger
    for name in [given] if isinstance(given, str) else given or []:
        package = _LOGGER_PACKAGES.get(name, name)
        if name not in (*Tracking.supported_backend, *_LOGGER_PACKAGES):
            yield f"trainer.logger={name!r} is unknown; use of {', '.join(Tracking.supported_backend)}"
        elif name not in _OWN_LOGGERS and importlib.util.find_spec(package) is None:
            yield (
                f"trainer.logger={name!r} needs the package {package}, which is not installed: install it, or leave "
                "the logger out, e.g. trainer.logger=[console]"
            )


def _micro_batches(config: DictConfig) -> Iterator[str]:
    dynamic = config.actor_rollout_ref.actor.use_dynamic_bsz
    other = config.actor_rollout_ref.rollout.log_prob_use_dynamic_bsz
    if dynamic != other:
        yield (
            f"{_ROLLOUT}.log_prob_use_dynamic_bsz={other} with {_ACTOR}.use_dynamic_bsz={dynamic}: one engine makes "
            "both passes; set them alike"
        )
    for key in () if dynamic else _BATCHES:
        value = OmegaConf.select(config, key)
        if value is not None and OmegaConf.select(config, f"{key}_per_gpu") is None:
            yield f"{key}={value}: verl's workers read {key}_per_gpu alone; set that"


def _token_budgets(config: DictConfig) -> Iterator[str]:
    longest = sum(OmegaConf.select(config, key) or 0 for key in _LENGTHS)
    for key, switch in _TOKENS.items():
        role = key.rpartition(".")[0]
        ranks = ulysses_size(config, "ref" if role == _REF else "actor")
        tokens = OmegaConf.select(config, key)
        if OmegaConf.select(config, switch) and tokens is not None and tokens * ranks < longest:
            yield (
                f"{key}={tokens} with {switch}=True: verl ends at a sequence of more tokens, and "
                f"data.max_prompt_length + data.max_response_length = {longest}; raise it to {-(-longest // ranks)} at "
                "least"
            )


def _devices(config: DictConfig) -> Iterator[str]:
    trainer, rollout = config.trainer, config.actor_rollout_ref.rollout
    devices, engine = trainer.nnodes * trainer.n_gpus_per_node, 1
    for key in ("tensor_model_parallel_size", "data_parallel_size", "pipeline_model_parallel_size"):
        engine *= rollout[key]
    if devices % engine:
        yield (
            f"{_ROLLOUT}.tensor_model_parallel_size={rollout.tensor_model_parallel_size} times data_parallel_size="
            f"{rollout.data_parallel_size}: rollout engines of {engine} devices do not divide the {devices} of "
            f"trainer.nnodes={trainer.nnodes} times trainer.n_gpus_per_node={trainer.n_gpus_per_node}; change either"
        )
    if trainer.nnodes > 1 and OmegaConf.select(config, "ray_kwargs.ray_init.address") == LOCAL:
        yield (
            f"trainer.nnodes={trainer.nnodes} with ray_kwargs.ray_init.address={LOCAL!r}: a Ray cluster of the run's "
            "own has one node; set trainer.nnodes=1, or the address of a cluster"
        )
    slots = OmegaConf.select(config, "ray_kwargs.ray_init.num_cpus")
    if slots is not None and trainer.nnodes == 1 and slots < ray_slots.needed(config):
        yield (
            f"ray_kwargs.ray_init.num_cpus={slots}: verl waits without an end for the {ray_slots.needed(config)} slots "
            f"of trainer.n_gpus_per_node={trainer.n_gpus_per_node} and the TransferQueue; raise it to that at least "
            "(slots are no cores)"
        )


def _filter(config: DictConfig) -> Iterator[str]:
    groups = config.algorithm.filter_groups
    if groups.enable and not groups.metric:
        yield (
            f"algorithm.filter_groups.metric={groups.metric} with algorithm.filter_groups.enable=True: name what the "
            "groups are filtered by, e.g. reward"
        )


def ulysses_size(config: DictConfig, role: str) -> int:
    """Ranks that share a sequence: the larger of the engine's key and the older one, which verl copies over it later.

    Args:
        role: "actor" or "ref".
    """
    keys = ("fsdp_config.ulysses_sequence_parallel_size", "ulysses_sequence_parallel_size")
    return max(OmegaConf.select(config, f"actor_rollout_ref.{role}.{key}") or 1 for key in keys)
