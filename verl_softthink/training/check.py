"""Check a whole verl configuration against a recipe, on the driver, before any worker starts."""

import functools
from collections.abc import Callable
from types import ModuleType

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.laws import get_law
from verl_softthink.likelihood.checks import check_engine
from verl_softthink.likelihood.fields import trainable_law
from verl_softthink.methods import registry
from verl_softthink.methods.settings import parse_node
from verl_softthink.rollout.phase.lead_in import MAX_FORCED
from verl_softthink.rollout.replica_registry import ROLLOUT_NAME
from verl_softthink.thinking import checked_tokens, load_tokenizer, marker_problems
from verl_softthink.training import (
    compatibility_check,
    data_check,
    extern_check,
    late_check,
    modes,
    reinforce_sum,
    rollout_check,
    unread_check,
)
from verl_softthink.training.run_environment import forward

#: Sentences about a configuration, one for each mistake, naming the key, its value and the fix.
Check = Callable[[DictConfig, SoftThinkSettings], list[str]]
#: What every recipe selects; changing one of these by hand breaks the chain silently.
SELECTIONS = {
    "trainer.use_v1": True,
    "actor_rollout_ref.model.model_type": "softthink_language_model",
    "actor_rollout_ref.rollout.mode": "async",
}
#: What soft rollouts need beside it.
SOFT_SELECTIONS = {
    "actor_rollout_ref.rollout.agent.default_agent_loop": "softthink_agent",
    "actor_rollout_ref.rollout.calculate_log_probs": True,
}
#: Of every recipe.
COMMON: tuple[Check, ...] = (
    modes.problems,
    unread_check.problems,
    rollout_check.common_problems,
    compatibility_check.problems,
    late_check.problems,
    extern_check.problems,
    data_check.problems,
)


def check_config(config: DictConfig) -> SoftThinkSettings:
    """Validate the ``softthink:`` node and everything in verl's configuration that it depends on.

    Raises:
        ValueError: with one line per problem, each naming the key, its value and the fix.
    """
    settings = parse_node(OmegaConf.to_container(config.softthink, resolve=True))
    soft: tuple[Check, ...] = (_law, rollout_check.soft_problems, _phase)
    checks: list[Check] = [_selections, _engines, _loss, *COMMON, *(soft if settings.law is not None else (_discrete,))]
    checks += registry.parts("check", registry.chosen(settings))
    problems = [problem for check in checks for problem in _found(check, config, settings)]
    if problems:
        # What several methods read is said once.
        raise ValueError("the configuration cannot be trained:\n" + "\n".join(dict.fromkeys(problems)))
    return settings


def _found(check: Check, config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    try:
        return check(config, settings)
    except ValueError as error:
        return [str(error)]


def _selections(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    wanted = SELECTIONS | SOFT_SELECTIONS if settings.law is not None else SELECTIONS
    found = {key: OmegaConf.select(config, key) for key in wanted}
    return [
        f"{key}={value!r}: this recipe needs {wanted[key]!r}; remove the override"
        for key, value in found.items()
        if value != wanted[key]
    ]


def _law(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    law, pieces, problems = trainable_law(settings.law.name), settings.likelihood.positions_at_once, []
    readers = [f"softthink.law.name={law.name!r}"] if law.draws_embedding else []
    readers += _methods_in_need_of(registry.ALL_LOGITS, settings)
    if pieces is not None and readers:
        problems.append(
            f"softthink.likelihood.positions_at_once={pieces} with {', '.join(readers)}, which reads all logits of a "
            "batch; set it to null"
        )
    if problem := law.training_problem(settings.law.parameters):
        problems.append(problem)
    if settings.law.rebuilds_embedding and not law.draws_weights(settings.law.parameters):
        problems += _rebuilt_embeddings(config)
    return problems


def _rebuilt_embeddings(config: DictConfig) -> list[str]:
    """A fed embedding is rebuilt from the scoring model's own table: it must be the rollout's."""
    reason = "softthink.law.fed='seed' rebuilds fed embeddings from the table of the model that scores them, "
    actor, prompts, problems = config.actor_rollout_ref.actor, config.data.train_batch_size, []
    if actor.ppo_epochs > 1 or actor.ppo_mini_batch_size < prompts:
        problems.append(
            f"{reason}which has moved after the first of several updates of a batch: set "
            f"actor_rollout_ref.actor.ppo_epochs=1 (is {actor.ppo_epochs}) and ppo_mini_batch_size={prompts} (is "
            f"{actor.ppo_mini_batch_size}), or softthink.law.fed=embedding"
        )
    if actor.use_kl_loss or config.algorithm.use_kl_in_reward:
        problems.append(
            f"{reason}and the reference model has another: turn actor_rollout_ref.actor.use_kl_loss and "
            "algorithm.use_kl_in_reward off, or set softthink.law.fed=embedding"
        )
    return problems


def _loss(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    actor = config.actor_rollout_ref.actor
    if OmegaConf.select(actor, "policy_loss.loss_mode") != reinforce_sum.NAME:
        return []
    return reinforce_sum.actor_problems(
        loss_agg_mode=actor.loss_agg_mode,
        ppo_epochs=actor.ppo_epochs,
        ppo_mini_batch_size=actor.ppo_mini_batch_size,
        train_batch_size=config.data.train_batch_size,
    )


def _discrete(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    problems = []
    if "filter" in settings.model_fields_set:
        problems.append(
            "softthink.filter is given, but softthink.law=None: rollouts are discrete, so there is nothing to filter; "
            "set softthink.law.name, or leave out the recipe that sets the filter"
        )
    name = OmegaConf.select(config, "actor_rollout_ref.rollout.name")
    if name == ROLLOUT_NAME:
        problems.append(
            f"actor_rollout_ref.rollout.name={name!r} with softthink.law=None: soft rollouts need a law; set "
            "softthink.law.name, or name verl's own 'vllm'"
        )
    return problems


def _engines(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    model, problems = config.actor_rollout_ref.model, []
    for role in ("actor", "ref"):
        try:
            check_engine(
                strategy=config.actor_rollout_ref[role].strategy,
                use_fused_kernels=bool(model.get("use_fused_kernels", False)),
                ulysses_sequence_parallel_size=late_check.ulysses_size(config, role),
                mtp=bool(OmegaConf.select(model, "mtp.enable", default=False)),
                distillation=bool(OmegaConf.select(config, "distillation.enabled", default=False)),
                whole_sequences=_whole_sequences(settings),
                use_remove_padding=bool(model.get("use_remove_padding", True)),
                attention=OmegaConf.select(model, "override_config.attn_implementation") or "flash_attention_2",
                role=role,
            )
        except ValueError as error:
            problems += str(error).splitlines()
    # What both roles share is said once.
    return list(dict.fromkeys(problems))


def _whole_sequences(settings: SoftThinkSettings) -> list[str]:
    """Settings in use that read more of a sequence than one Ulysses rank holds."""
    readers = {
        "softthink.likelihood.positions_at_once": settings.likelihood.positions_at_once is not None,
    }
    if settings.law is not None:
        readers[f"softthink.law.name={settings.law.name!r}"] = get_law(settings.law.name).draws_embedding
    used = [name for name, reads in readers.items() if reads]
    return [*_methods_in_need_of(registry.WHOLE_SEQUENCES, settings), *used]


def _methods_in_need_of(need: str, settings: SoftThinkSettings) -> list[str]:
    return [f"softthink.{method.group}" for method in registry.chosen(settings) if need in method.needs]


def _phase(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    phase, response, problems = settings.phase, config.data.max_response_length, []
    if phase.budget is not None and phase.budget >= response:
        problems.append(
            f"softthink.phase.budget={phase.budget} leaves no room for an answer in data.max_response_length="
            f"{response}; lower the budget or raise the response length"
        )
    if phase.budget == 0:
        problems.append(
            "softthink.phase.budget=0 leaves no thought to train: give it at least 1, or null for no budget"
        )
    marker = marker_problems(config, phase)
    tokenizer, model = load_tokenizer(config), str(config.actor_rollout_ref.model.path)

    def forced(key: str) -> Check:
        def check(*_: object) -> list[str]:
            value = getattr(phase, key)
            if value is not None:
                checked_tokens(key, value, tokenizer, model, MAX_FORCED)
            return []

        return check

    texts: tuple[Check, ...] = (forced("answer_prefix"), forced("lead_in"))
    return problems + marker + [problem for check in texts for problem in _found(check, config, settings)]


def register(config_utils: ModuleType) -> None:
    """``verl.utils.config``: verl's own validation also checks the ``softthink:`` node, where there is one.

    It is the last step on the driver before Ray is there, so what the run inherits of the shell is settled here too.
    """
    validate_config = config_utils.validate_config

    @functools.wraps(validate_config)
    def validate_with_softthink(config, *args, **kwargs):
        if "softthink" in config:
            check_config(config)
            modes.select(config)
            forward(config)
        validate_config(config, *args, **kwargs)

    config_utils.validate_config = validate_with_softthink
