"""Inference modes: the six settings of Soft Tokens (arXiv 2509.19170), and any law under its own name.

| mode | soft positions of the chain of thought |
|---|---|
| hard_greedy | the most likely token (temperature 0) |
| hard_sample | a token drawn at temperature 1 |
| soft_greedy, soft_sample | the mean embedding at temperature 0.5; sampled: with noise of 0.33 RMS |
| fuzzy_greedy, fuzzy_sample | the same at temperature 1e-4, where the mean is nearly one token |

All of them go through the same phase control, so that markers, budgets and forced answers are the same in each. Hard
greedy is the mixture of one candidate, which is that token's embedding; hard sampling is the law ``discrete``.

A mode may be asked for several times under names of its own, NAME@LABEL, to compare its settings:

    --modes gumbel,gumbel@warm --override gumbel@warm.law.tau=0.2
"""

from collections.abc import Iterable
from dataclasses import dataclass

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from verl_softthink.config.base import parse
from verl_softthink.config.settings import FilterSettings, LawSettings, RequestSettings
from verl_softthink.laws import DISCRETE, LAWS
from verl_softthink.laws.deterministic import DeterministicLaw
from verl_softthink.laws.gaussian import GAMMA, GaussianLaw

SOFT_TEMPERATURE, FUZZY_TEMPERATURE = 0.5, 1e-4


def _gaussian(temperature: float, gamma: float) -> dict:
    return {"law": {"name": GaussianLaw.name, GAMMA.name: gamma}, "filter": {"temperature": temperature}}


#: Groups ``law`` and ``filter`` of one request, by mode, in the order of the table.
SIX_SETTINGS: dict[str, dict] = {
    "hard_greedy": {"law": {"name": DeterministicLaw.name}, "filter": {"top_k": 1, "max_topk": 1}},
    "hard_sample": {"law": {"name": DISCRETE}, "filter": {"temperature": 1.0}},
    "soft_greedy": _gaussian(SOFT_TEMPERATURE, 0.0),
    "soft_sample": _gaussian(SOFT_TEMPERATURE, GAMMA.default),
    "fuzzy_greedy": _gaussian(FUZZY_TEMPERATURE, 0.0),
    "fuzzy_sample": _gaussian(FUZZY_TEMPERATURE, GAMMA.default),
}
ALL = "all"
#: Between a mode's name and a label.
_LABEL = "@"


@dataclass(frozen=True)
class Mode:
    """One way to think.

    Attributes:
        name: as it is asked for and reported.
        law, filter: how soft positions are drawn.
    """

    name: str
    law: LawSettings
    filter: FilterSettings

    @property
    def deterministic(self) -> bool:
        """Whether every sample would be the same, so that one is drawn."""
        return LAWS[self.law.name].certain(self.law.parameters)


def read_mode(option: str, name: str, overrides: Iterable[str] = ()) -> Mode:
    """One mode by its name.

    Args:
        option: under which the name was given, for messages.
        overrides: "KEY=VALUE" each, such as "law.tau=0.2" or "filter.top_p=1".

    Raises:
        ValueError: naming the unknown mode, the key or the value.
    """
    if name not in known_modes():
        raise ValueError(f"{option} {name!r} is unknown; use one of {', '.join(known_modes())}")
    (mode,) = read_modes(name, [f"{name}.{override}" for override in overrides])
    return mode


def read_modes(text: str, overrides: Iterable[str] = ()) -> list[Mode]:
    """The modes named in ``text``, in its order.

    Args:
        text: names separated by commas, each with a label or not; "all" stands for the six settings.
        overrides: "MODE.KEY=VALUE" each, such as "gumbel.law.tau=0.2" or "soft_sample.filter.temperature=0.6".

    Raises:
        ValueError: naming the unknown mode, the key or the value.
    """
    names: dict[str, None] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        names |= dict.fromkeys(SIX_SETTINGS if name == ALL else (name,))
    if not names:
        raise ValueError(f"--modes {text!r} names no mode; use {ALL} or some of {', '.join(known_modes())}")
    settings = {name: OmegaConf.create(_defaults(name)) for name in names}
    for override in overrides:
        mode, _, assignment = override.partition(".")
        if mode not in settings or "=" not in assignment:
            raise ValueError(
                f"--override {override!r}: write MODE.KEY=VALUE with one of the modes {', '.join(settings)}, e.g. "
                "gumbel.law.tau=0.2"
            )
        try:
            settings[mode].merge_with_dotlist([assignment])
        except OmegaConfBaseException as error:
            raise ValueError(f"--override {override!r}: {error}") from error
    return [_mode(name, OmegaConf.to_container(values)) for name, values in settings.items()]


def read_pairs(option: str, assignments: Iterable[str]) -> dict:
    """ "KEY=VALUE" texts as a dictionary, values read as YAML.

    Raises:
        ValueError: naming the option and the text.
    """
    for assignment in assignments:
        if "=" not in assignment:
            raise ValueError(f"{option} {assignment!r}: write KEY=VALUE")
    return OmegaConf.to_container(OmegaConf.from_dotlist(list(assignments)))


def known_modes() -> list[str]:
    """Names of all modes."""
    return [*SIX_SETTINGS, *LAWS]


def _defaults(name: str) -> dict:
    base, separator, label = name.partition(_LABEL)
    if separator and not label.isidentifier():
        raise ValueError(f"--modes {name!r}: a label is letters, digits and underscores, e.g. {base}{_LABEL}warm")
    if base in SIX_SETTINGS:
        return SIX_SETTINGS[base]
    if base in LAWS:
        return {"law": {"name": base}, "filter": {}}
    raise ValueError(f"--modes {name!r} is unknown; use {ALL} or some of {', '.join(known_modes())}")


def _mode(name: str, values: dict) -> Mode:
    request: RequestSettings = parse(RequestSettings, values, f"--modes {name}: softthink")
    return Mode(name=name, law=request.law, filter=request.filter)
