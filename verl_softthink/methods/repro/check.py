"""The combinations that RePro does not support, in one line each."""

from omegaconf import DictConfig, OmegaConf

from verl_softthink.methods.repro.advantage import NORMALISERS
from verl_softthink.methods.repro.preparation import Preparation
from verl_softthink.thinking import load_tokenizer, marker_problems

_ATTENTION = "actor_rollout_ref.model.override_config.attn_implementation"


def problems(config: DictConfig, settings) -> list[str]:
    """One sentence for each setting that RePro does not support, with the key, its value and the fix."""
    found = []
    estimator = OmegaConf.select(config, "algorithm.adv_estimator")
    if estimator not in NORMALISERS:
        found.append(
            f"algorithm.adv_estimator={estimator!r} has no process advantage; use one of {', '.join(NORMALISERS)}, "
            "or remove repro from +softthink"
        )
    if OmegaConf.select(config, "algorithm.rollout_correction.bypass_mode", default=False):
        found.append(
            "algorithm.rollout_correction.bypass_mode=True skips the pass over the old policy, in which RePro "
            "scores the answers; set it to False"
        )
    if OmegaConf.select(config, _ATTENTION) == "eager":
        found.append(
            f"{_ATTENTION}='eager' does not go through transformers' attention interface, which RePro needs; set it to "
            "sdpa, flash_attention_2 or flex_attention"
        )
    # Delimiters are checked with the tokenizer, so only once that has loaded.
    marker = marker_problems(config, settings.phase)
    return found + (marker or _delimiter_problems(config, settings))


def _delimiter_problems(config: DictConfig, settings) -> list[str]:
    try:
        Preparation(load_tokenizer(config), settings.repro, settings.phase.end_of_thinking, settings.phase.match)
    except ValueError as error:
        return [str(error)]
    return []
