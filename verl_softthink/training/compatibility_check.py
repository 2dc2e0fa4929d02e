"""Refuse what the table of ``compatibility.py`` refuses, misspelt names, and combinations of what it takes."""

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.training.compatibility import CHOICES, Choice, Verdict, allowed

_VERL = "verl."
_CORRECTION = "algorithm.rollout_correction"
#: Estimators that read where a reward stands.
_READ_POSITIONS = ("gae", "reinforce_plus_plus")


def problems(config: DictConfig, settings: SoftThinkSettings) -> list[str]:
    """One sentence for each choice of verl's that would train something else than it says."""
    law = None if settings.law is None else settings.law.name
    found = [
        sentence
        for choice in CHOICES
        for value in _values(config, choice)
        if (sentence := _problem(choice, value, law)) is not None
    ]
    return found + (_combinations(config, law) if law is not None else [])


def _values(config: DictConfig, choice: Choice) -> list[str]:
    value = OmegaConf.select(config, choice.key)
    if value is None or (choice.used_if is not None and not OmegaConf.select(config, choice.used_if)):
        return []
    if choice.key.startswith("reward.") and OmegaConf.select(config, "reward.reward_manager.source") != "register":
        return []
    return [part.strip() for part in str(value).split(",")]


def _problem(choice: Choice, value: str, law: str | None) -> str | None:
    what = f"{choice.key}={value}"
    fix = f"use one of {', '.join(allowed(choice, law=law is not None))}"
    entry = choice.entries.get(value)
    if entry is not None:
        if entry.verdict is Verdict.BROKEN:
            return f"{what}: {entry.reason}; {fix}"
        if entry.verdict is Verdict.REFUSED and law is not None:
            return f"{what} with softthink.law.name={law!r}: {entry.reason}; {fix}"
        return None
    registered = choice.registered() if choice.registered is not None else {}
    if value not in registered:
        others = sorted(name for name in registered if not _of_verl(registered[name]))
        return f"{what} is unknown; {fix}" + (f", or of {', '.join(others)}" if others else "")
    if law is not None and _of_verl(registered[value]):
        return (
            f"{what} with softthink.law.name={law!r}: it is new in verl, and nobody has looked whether it is right "
            f"with log-densities; {fix}"
        )
    return None


def _of_verl(registered: object) -> bool:
    return registered.__module__.startswith(_VERL)


def _combinations(config: DictConfig, law: str) -> list[str]:
    estimator, lam = config.algorithm.adv_estimator, config.algorithm.lam
    found = []
    if estimator == "gae" and lam != 1:
        found.append(
            f"algorithm.lam={lam} with algorithm.adv_estimator=gae and softthink.law.name={law!r}: the critic reads "
            "the shown tokens, not the mixtures that were fed, and its error biases advantages at any lam but 1; set "
            "it to 1.0"
        )
    rejection = OmegaConf.select(config, f"{_CORRECTION}.rollout_rs")
    if estimator in _READ_POSITIONS and rejection is not None and "token_" in rejection:
        found.append(
            f"{_CORRECTION}.rollout_rs={rejection!r} with algorithm.adv_estimator={estimator}: a reward on a rejected "
            "position would be lost; reject sequences (seq_mean_k1), or use an estimator of whole responses"
        )
    return found
