"""Check a whole verl configuration against a recipe, on the driver, before any worker starts."""

import functools
from types import ModuleType
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.base import parse
from verl_softthink.config.settings import PhaseSettings, SoftThinkSettings
from verl_softthink.laws import get_law
from verl_softthink.likelihood.checks import check_engine
from verl_softthink.likelihood.fields import trainable_law
from verl_softthink.methods.registry import chosen_stages
from verl_softthink.training import reinforce_sum as reinforce

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: What every recipe selects; changing one of these by hand breaks the chain silently.
SELECTIONS = {
    "trainer.v1.trainer_mode": "softthink_sync",
    "actor_rollout_ref.model.model_type": "softthink_language_model",
    "actor_rollout_ref.rollout.mode": "async",
}
#: What soft rollouts need beside it.
SOFT_SELECTIONS = {
    "actor_rollout_ref.rollout.name": "softthink_vllm",
    "actor_rollout_ref.rollout.agent.default_agent_loop": "softthink_agent",
    "actor_rollout_ref.rollout.calculate_log_probs": True,
}


def check_config(config: DictConfig) -> SoftThinkSettings:
    """Validate the ``softthink:`` node and everything in verl's configuration that it depends on.

    Raises:
        ValueError: with one line per problem, each naming the key, its value and the fix.
    """
    settings = parse(SoftThinkSettings, OmegaConf.to_container(config.softthink, resolve=True), "softthink")
    problems: list[str] = []
    soft = settings.law is not None
    for key, wanted in (SELECTIONS | SOFT_SELECTIONS if soft else SELECTIONS).items():
        value = OmegaConf.select(config, key)
        # The trainer itself has set its mode back to "sync" when it checks again.
        if value != wanted and (key, value) != ("trainer.v1.trainer_mode", "sync"):
            problems.append(f"{key}={value!r}: this recipe needs {wanted!r}; remove the override")
    checks = [_engines, _loss, *((_law, _rollout, _phase) if soft else (_discrete,))]
    checks += [stage.check for _, stage in chosen_stages(settings)]
    for check in checks:
        try:
            check(config, settings)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("the configuration cannot be trained:\n" + "\n".join(problems))
    return settings


def _law(config: DictConfig, settings: SoftThinkSettings) -> None:
    law = trainable_law(settings.law.name)
    pieces = settings.likelihood.positions_at_once
    reader = f"softthink.law.name={law.name!r}" if law.draws_embedding else "softthink.repro"
    if pieces is not None and (law.draws_embedding or settings.repro is not None):
        raise ValueError(
            f"softthink.likelihood.positions_at_once={pieces} with {reader}, which reads all logits of a batch; set it "
            "to null"
        )
    if problem := law.training_problem(settings.law.parameters):
        raise ValueError(problem)
    if settings.law.rebuilds_embedding:
        _rebuilt_embeddings(config)


def _rebuilt_embeddings(config: DictConfig) -> None:
    """A fed embedding is rebuilt from the scoring model's own table: it must be the rollout's."""
    reason = "softthink.law.fed='seed' rebuilds fed embeddings from the table of the model that scores them, "
    actor, prompts = config.actor_rollout_ref.actor, config.data.train_batch_size
    if actor.ppo_epochs > 1 or actor.ppo_mini_batch_size < prompts:
        raise ValueError(
            f"{reason}which has moved after the first of several updates of a batch: set "
            f"actor_rollout_ref.actor.ppo_epochs=1 (is {actor.ppo_epochs}) and ppo_mini_batch_size={prompts} (is "
            f"{actor.ppo_mini_batch_size}), or softthink.law.fed=embedding"
        )
    if actor.use_kl_loss or config.algorithm.use_kl_in_reward:
        raise ValueError(
            f"{reason}and the reference model has another: turn actor_rollout_ref.actor.use_kl_loss and "
            "algorithm.use_kl_in_reward off, or set softthink.law.fed=embedding"
        )


def _loss(config: DictConfig, settings: SoftThinkSettings) -> None:
    actor = config.actor_rollout_ref.actor
    if OmegaConf.select(actor, "policy_loss.loss_mode") == reinforce.NAME:
        reinforce.check_actor(
            loss_agg_mode=actor.loss_agg_mode,
            ppo_epochs=actor.ppo_epochs,
            ppo_mini_batch_size=actor.ppo_mini_batch_size,
            train_batch_size=config.data.train_batch_size,
        )


def _discrete(config: DictConfig, settings: SoftThinkSettings) -> None:
    if "filter" in settings.model_fields_set:
        raise ValueError(
            "softthink.filter is given, but softthink.law=None: rollouts are discrete, so there is nothing to filter; "
            "set softthink.law.name, or leave out the recipe that sets the filter"
        )
    name = config.actor_rollout_ref.rollout.name
    if name == SOFT_SELECTIONS["actor_rollout_ref.rollout.name"]:
        raise ValueError(
            f"actor_rollout_ref.rollout.name={name!r} with softthink.law=None: soft rollouts need a law; set "
            "softthink.law.name, or use verl's own 'vllm'"
        )


def _engines(config: DictConfig, settings: SoftThinkSettings) -> None:
    model = config.actor_rollout_ref.model
    for role in ("actor", "ref"):
        check_engine(
            strategy=config.actor_rollout_ref[role].strategy,
            use_fused_kernels=bool(model.get("use_fused_kernels", False)),
            ulysses_sequence_parallel_size=_ulysses_size(config, role),
            mtp=bool(OmegaConf.select(model, "mtp.enable", default=False)),
            distillation=bool(OmegaConf.select(config, "distillation.enabled", default=False)),
            whole_sequences=_whole_sequences(settings),
            use_remove_padding=bool(model.get("use_remove_padding", True)),
            attention=OmegaConf.select(model, "override_config.attn_implementation") or "flash_attention_2",
            role=role,
        )


def _whole_sequences(settings: SoftThinkSettings) -> list[str]:
    """Settings in use that read more of a sequence than one Ulysses rank holds."""
    readers = {
        "softthink.repro": settings.repro is not None,
        "softthink.attnrl": settings.attnrl is not None,
        "softthink.likelihood.positions_at_once": settings.likelihood.positions_at_once is not None,
    }
    if settings.law is not None:
        readers[f"softthink.law.name={settings.law.name!r}"] = get_law(settings.law.name).draws_embedding
    return [name for name, used in readers.items() if used]


def _ulysses_size(config: DictConfig, role: str) -> int:
    """The larger of the engine's key and the older one beside it, which verl copies over it later."""
    keys = ("fsdp_config.ulysses_sequence_parallel_size", "ulysses_sequence_parallel_size")
    return max(OmegaConf.select(config, f"actor_rollout_ref.{role}.{key}") or 1 for key in keys)


def _rollout(config: DictConfig, settings: SoftThinkSettings) -> None:
    rollout = config.actor_rollout_ref.rollout
    if rollout.enable_prefix_caching and not settings.rollout.prefix_cache_salt:
        raise ValueError(
            "softthink.rollout.prefix_cache_salt=False with actor_rollout_ref.rollout.enable_prefix_caching=True: "
            "keys of cached blocks must tell what was fed at soft positions; set the salt to True or turn prefix "
            "caching off"
        )
    if rollout.get("enable_rollout_routing_replay", False):
        raise ValueError(
            "actor_rollout_ref.rollout.enable_rollout_routing_replay=True uses the channel that carries soft traces; "
            "set it to False"
        )
    if rollout.pipeline_model_parallel_size > 1:
        raise ValueError(
            f"actor_rollout_ref.rollout.pipeline_model_parallel_size={rollout.pipeline_model_parallel_size}: soft "
            "tokens need logits and embedding in one process; set it to 1"
        )


def _phase(config: DictConfig, settings: SoftThinkSettings) -> None:
    budget, response = settings.phase.budget, config.data.max_response_length
    if budget is not None and budget >= response:
        raise ValueError(
            f"softthink.phase.budget={budget} leaves no room for an answer in data.max_response_length={response}; "
            "lower the budget or raise the response length"
        )
    check_phase_texts(config, settings.phase)


def check_phase_texts(config: DictConfig, phase: PhaseSettings) -> None:
    """The tokenizer must be able to produce what is matched and placed: a text must survive encoding and decoding.

    Raises:
        ValueError: naming the tokens it becomes.
    """
    from verl_softthink.rollout.state import MAX_PLACED
    from verl_softthink.rollout.text_marker import check_text_marker

    tokenizer, model = load_tokenizer(config), str(config.actor_rollout_ref.model.path)
    ids = marker_tokens(tokenizer, phase.end_of_thinking, model)
    if phase.match == "text":
        check_text_marker(phase.end_of_thinking, ids, tokenizer)
    for name, value in (("answer_prefix", phase.answer_prefix), ("lead_in", phase.lead_in)):
        if value is not None:
            _tokens(name, value, tokenizer, model, MAX_PLACED)


def check_marker_text(config: DictConfig, marker: str | list[int]) -> None:
    """The tokenizer of the configured model must be able to produce the marker.

    Raises:
        ValueError: naming the tokens it becomes, or why there is no tokenizer.
    """
    marker_tokens(load_tokenizer(config), marker, str(config.actor_rollout_ref.model.path))


def marker_tokens(tokenizer: "PreTrainedTokenizerBase", marker: str | list[int], model: str) -> list[int]:
    """The marker's token ids; a text must survive encoding and decoding.

    Args:
        model: name of the model, for the message.

    Raises:
        ValueError: naming the tokens it becomes.
    """
    from verl_softthink.rollout.markers import MAX_MARKER

    return _tokens("end_of_thinking", marker, tokenizer, model, MAX_MARKER)


def _tokens(
    name: str, value: str | list[int], tokenizer: "PreTrainedTokenizerBase", model: str, longest: int
) -> list[int]:
    ids = tokenizer.encode(value, add_special_tokens=False) if isinstance(value, str) else list(value)
    text = tokenizer.decode(ids)
    if isinstance(value, str) and text != value:
        raise ValueError(
            f"softthink.phase.{name}={value!r}: the tokenizer of {model} cannot produce it: it becomes "
            f"{ids}, which reads {text!r}; use a text of this model, or add the token to the tokenizer"
        )
    if not 1 <= len(ids) <= longest:
        raise ValueError(f"softthink.phase.{name}={value!r} is {len(ids)} tokens long; use 1 to {longest} tokens")
    foreign = [token for token in ids if not 0 <= token < len(tokenizer)]
    if foreign:
        raise ValueError(
            f"softthink.phase.{name}={value!r}: token ids {foreign} are outside the tokenizer's "
            f"{len(tokenizer)}; give ids of this model"
        )
    return ids


def load_tokenizer(config: DictConfig):
    """The policy's tokenizer, as verl loads it.

    Raises:
        ValueError: naming the model and why it has none.
    """
    from verl.utils import hf_tokenizer
    from verl.utils.fs import copy_to_local

    model = config.actor_rollout_ref.model
    path = model.get("tokenizer_path") or model.path
    try:
        return hf_tokenizer(copy_to_local(path), trust_remote_code=model.get("trust_remote_code", False))
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"actor_rollout_ref.model.path={path!r}: its tokenizer cannot be loaded ({reason}); give the directory of "
            "a checkpoint, or the name of one on the hub with a network"
        ) from error


def register(config_utils: ModuleType) -> None:
    """``verl.utils.config``: verl's own validation also checks the ``softthink:`` node, where there is one."""
    validate_config = config_utils.validate_config

    @functools.wraps(validate_config)
    def validate_with_softthink(config, *args, **kwargs):
        if "softthink" in config:
            check_config(config)
        validate_config(config, *args, **kwargs)

    config_utils.validate_config = validate_with_softthink
