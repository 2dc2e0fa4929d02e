"""Soft requests as strangers write them: sound ones of which some settings are replaced by anything at all.

The settings are read off the schema and the laws' declarations, so that a new one is tried without being named here.
"""

import copy
import random
from collections.abc import Iterator

from verl_softthink.config.settings import LawSettings, PrefixSettings, RequestSettings, Settings
from verl_softthink.laws import LAWS

#: At and past the ranges of the settings and of the types that hold them.
NUMBERS = (
    *(0, 1, 2, 3, 5, 6, 7, 63, 64, 65, 299, 300, 1024, -1),
    *(2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, -(10**30), 10**5000),
    *(0.0, -0.0, 0.5, 0.25, 4.0, 4.000001, 0.01, 0.99999999999, 1.0, 1.0000001, 1e4, 1e-7, 1.2e-7, 1e-12, -1e-3),
    *(1.4e-45, 1e-45, 1e-46, 1.1e-38, 1e-300, 5e-324, 3.4e38, 3.5e38, 1e39, 1.7e308, float("inf"), -float("inf")),
    float("nan"),
)
TEXTS = (
    *("", " ", "</ think>", "</think>", "w5", "w5 w6", "w7 </", "discrete", "text", "seed", "vocabulary", "candidates"),
    *("1", "0.5", "nan", "true", "\x00", "é", "\ud800", "思考", "🙂" * 40, "w8 " * 40, "x" * 100_000),
)
OTHERS = (
    *(True, False, None, b"", b"\x00\xff", {}, {"name": "gumbel"}, {7: 1}, {"": None}, {3, 4}, [[3]], [], [3]),
    *([3, 4], [300], [-1], [2**63], [10**30], [True], [3.0], ["3"], [None], [5] * 16, [5] * 17, [5] * 32, [5] * 33),
    [5] * 100_000,
)
#: What each setting may have, and what only its table cannot hold.
NEAR = {
    "name": (*(law.name for law in LAWS.own), "none"),
    "tau": (0.01, 0.1, 1, 1.2e-7, 3e38, 4e38, 1e-45),
    "noise_scale": (0.25, 1, 4),
    "gamma": (0, 1e-38, 10),
    "fed": ("embedding", "seed"),
    "concentration": (0.01, 1e4),
    "draws": (1, 6, 7),
    "weighting": ("uniform", "probability"),
    "beta": (0, 1000, 1e-38),
    "normalise_over": ("vocabulary", "candidates"),
    "temperature": (0.5, 1e-4, 2e-7, 1e-30, 1e-40, 3e38, 1e39),
    "top_k": (0, 1, 5, 300, 2**63 - 1, 2**63),
    "top_p": (0.5, 1, 1e-38, 1e-44, 1e-46, 0.99999999999),
    "min_p": (0, 0.5, 1e-46, 0.99999999999),
    "max_topk": (1, 5, 6, 7),
    "match": ("tokens", "text"),
    "end_of_thinking": ([3, 4], *(f"w{number}" for number in range(5, 30))),
    "budget": (1, 12, 13, 2**63),
    "cold_entropy": (0.5, 3e38, 4e38),
    "cold_length": (1, 2**63 - 1, 2**63),
    "answer_prefix": ([5, 6], "w5"),
    "lead_in": ([5, 6], "w5"),
    "answer_budget": (1, 2**63 - 1, 2**63),
    "switches": (0, 1, 2**63 - 1, 2**63),
    "switch_window": (1, 2**63 - 1, 2**63),
    "seed": (0, -(2**63), 2**63 - 1, 2**63),
    "record_entropy": (True, False),
}
#: A setting that has a meaning only beside others.
BESIDE = {
    "cold_entropy": ("cold_length", NEAR["cold_length"]),
    "cold_length": ("cold_entropy", NEAR["cold_entropy"]),
    "match": ("end_of_thinking", NEAR["end_of_thinking"]),
    "switch_window": ("switches", NEAR["switches"]),
}
#: Shares of replaced settings that are near what they may be, and any number; the rest is anything.
SHARE_NEAR, SHARE_NUMBER = 0.75, 0.15


def settings_of(model: type[Settings], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all settings, groups included."""
    for name, field in model.model_fields.items():
        yield (*path, name)
        group = PrefixSettings if name == "prefix" else field.annotation
        if isinstance(group, type) and issubclass(group, Settings):
            yield from settings_of(group, (*path, name))
        if group is LawSettings:
            yield from ((*path, name, parameter) for parameter in PARAMETERS)


PARAMETERS = sorted({parameter.name for law in LAWS.own for parameter in law.parameters})
PATHS = (*settings_of(RequestSettings), ("unknown",), ("law", "unknown"), ("phase", "unknown"))


def hostile_requests(seed: int, count: int) -> Iterator[object]:
    """Values of ``extra_args["softthink"]``; the first ones are no groups of settings at all."""
    rng = random.Random(seed)
    yield from (copy.deepcopy(value) for value in (*OTHERS, 0, 1.5, "", "gumbel"))
    for _ in range(count):
        law = rng.choice(list(LAWS.own))
        values = {
            "law": {"name": law.name},
            "filter": {"top_k": 5, "max_topk": 5},
            "phase": {"end_of_thinking": [3, 4], "budget": 8},
            "seed": rng.randrange(2**63),
        }
        own = {parameter.name for parameter in law.parameters}
        fitting = [path for path in PATHS if path[-1] in NEAR and (path[0] != "law" or path[-1] in own)]
        for _ in range(rng.randint(1, 2)):
            path = rng.choice(fitting if rng.random() < SHARE_NEAR else PATHS)
            _replace(values, path, _value(path[-1], rng), rng)
        yield values


def _value(name: str, rng: random.Random) -> object:
    drawn = rng.random()
    if drawn < SHARE_NEAR and name in NEAR:
        return copy.deepcopy(rng.choice(NEAR[name]))
    return copy.deepcopy(rng.choice(NUMBERS if drawn < SHARE_NEAR + SHARE_NUMBER else (*NUMBERS, *TEXTS, *OTHERS)))


def _replace(values: dict, path: tuple[str, ...], value: object, rng: random.Random) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            return
    if path[-1] in BESIDE:
        other, candidates = BESIDE[path[-1]]
        values[other] = rng.choice(candidates)
    values[path[-1]] = value
