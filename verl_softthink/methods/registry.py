"""The one list of methods that take part in a training step, and the methods that installed distributions add.

A method is chosen by giving its group of settings, ``softthink.<group>``. Its record names everything else by
"package.module:object", so that reading the list imports nothing; what a run does not use is never imported.

A distribution adds a method by an entry point whose name is the group and whose object is the record:

    [project.entry-points."verl_softthink.methods"]
    brevity = "my_package.brevity:METHOD"
"""

import functools
import importlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from verl_softthink.installed import Installed

logger = logging.getLogger(__name__)

GROUP = "verl_softthink.methods"
#: What a method may need: of a forward pass, sequences that are whole on one rank and logits of all positions at once;
#: of a trainer, that a step trains on what its own policy has drawn for it (as where ``Stage.submit`` sends it off).
WHOLE_SEQUENCES, ALL_LOGITS, ON_POLICY = "whole sequences", "all logits", "on policy"


@dataclass(frozen=True)
class Method:
    """One method; every attribute but the first three may be left out.

    Attributes:
        group: key of its settings in the ``softthink:`` node; null there means that the method is not used.
        settings: class of the settings, derived from ``config.base.Settings``.
        stage: class of its part of a training step, derived from ``methods.stage.Stage``.
        check: function (configuration of verl, settings of the node) -> sentences, one for each mistake in what the
            user combined with it; called on the driver before any worker starts.
        doubts: function (``methods.responses.Responses``, settings of the node) -> sentences, one for each text that
            the method looks for and no response contains; called once, with the first responses of a run, and by the
            doctor with responses that it samples.
        engine: mixin class that is put in front of the likelihood engine.
        registrations: (upstream module, function) pairs: the function is called with the module once that is imported
            (agent loops, advantage estimators, policy losses).
        outcome_estimators: its advantage estimators that give a response one number relative to its group.
        metrics: tuple of ``report.metric_doc.MetricDoc``.
        page: class of what it adds to the page of traces, derived from ``report.page_parts.PageParts``.
        commands: function that adds to the command line, given its groups of commands by name.
        needs: of ``WHOLE_SEQUENCES``, ``ALL_LOGITS`` and ``ON_POLICY``.
        recipe: "package:file" of the YAML file that ``+softthink=<group>`` selects; the recipes of this package's own
            methods stand in ``training/recipes``.
    """

    group: str
    settings: str
    stage: str
    check: str | None = None
    doubts: str | None = None
    engine: str | None = None
    registrations: tuple[tuple[str, str], ...] = ()
    outcome_estimators: tuple[str, ...] = ()
    metrics: str | None = None
    page: str | None = None
    commands: str | None = None
    needs: frozenset[str] = frozenset()
    recipe: str | None = None


_HERE = "verl_softthink.methods"
_AGENT_LOOPS = "verl.experimental.agent_loop.single_turn_agent_loop"
_CORE_ALGOS = "verl.trainer.ppo.core_algos"

#: This package's own, in the order in which their stages run.
METHODS: tuple[Method, ...] = (
    # First: it decides which rows the others see.
    Method(
        "attnrl",
        settings=f"{_HERE}.attnrl.settings:AttnrlSettings",
        stage=f"{_HERE}.attnrl.stage:AttnrlStage",
        check=f"{_HERE}.attnrl.check:problems",
        doubts=f"{_HERE}.attnrl.doubts:doubts",
        engine=f"{_HERE}.attnrl.engine:StepInfluence",
        registrations=((_AGENT_LOOPS, f"{_HERE}.attnrl.agent_loop:register"),),
        metrics=f"{_HERE}.attnrl.metrics:ROWS",
        page=f"{_HERE}.attnrl.page:Trees",
        commands=f"{_HERE}.attnrl.cli:add_to",
        needs=frozenset({WHOLE_SEQUENCES, ON_POLICY}),
    ),
    Method(
        "repro",
        settings=f"{_HERE}.repro.settings:ReproSettings",
        stage=f"{_HERE}.repro.stage:ReproStage",
        check=f"{_HERE}.repro.check:problems",
        doubts=f"{_HERE}.repro.doubts:doubts",
        engine=f"{_HERE}.repro.engine:AnswerScoring",
        metrics=f"{_HERE}.repro.metrics:ROWS",
        page=f"{_HERE}.repro.page:ProcessRewardsOfPieces",
        commands=f"{_HERE}.repro.cli:add_to",
        needs=frozenset({WHOLE_SEQUENCES, ALL_LOGITS}),
    ),
    Method(
        "variational",
        settings=f"{_HERE}.variational.settings:VariationalSettings",
        stage=f"{_HERE}.variational.stage:VariationalStage",
        check=f"{_HERE}.variational.check:problems",
        doubts=f"{_HERE}.variational.doubts:doubts",
        registrations=(
            (_AGENT_LOOPS, f"{_HERE}.variational.agent_loop:register"),
            (_CORE_ALGOS, f"{_HERE}.variational.advantage:register"),
            (_CORE_ALGOS, f"{_HERE}.variational.loss:register"),
            # Weights of single rows in verl's SFT trainer.
            ("verl.workers.utils.losses", f"{_HERE}.variational.offline.sft:register"),
        ),
        outcome_estimators=("variational", "rejection_sampling"),
        metrics=f"{_HERE}.variational.metrics:ROWS",
        commands=f"{_HERE}.variational.cli:add_to",
        needs=frozenset({ON_POLICY}),
    ),
    Method(
        "thought_anchor",
        settings=f"{_HERE}.thought_anchor.settings:ThoughtAnchorSettings",
        stage=f"{_HERE}.thought_anchor.stage:ThoughtAnchorStage",
        check=f"{_HERE}.thought_anchor.check:problems",
        engine=f"{_HERE}.thought_anchor.engine:ThoughtAnchor",
        metrics=f"{_HERE}.thought_anchor.metrics:ROWS",
        needs=frozenset({WHOLE_SEQUENCES, ALL_LOGITS}),
    ),
    Method(
        "entropy_profile",
        settings=f"{_HERE}.entropy_profile.settings:EntropyProfileSettings",
        stage=f"{_HERE}.entropy_profile.stage:EntropyProfileStage",
        metrics=f"{_HERE}.entropy_profile.metrics:ROWS",
    ),
)
_OWN: Mapping[str, Method] = {method.group: method for method in METHODS}


def load(target: str) -> object:
    """The object that "package.module:object" names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


@functools.cache
def _installed() -> Installed:
    return Installed(GROUP, "method")


def groups() -> tuple[str, ...]:
    """Groups of all methods, ours first; installed methods are not imported."""
    return _installed().names(tuple(_OWN))


def method(group: str) -> Method:
    """The method of a group, ours or an installed distribution's.

    Raises:
        ValueError: there is none, two distributions claim the group, or the installed one cannot be used.
    """
    point = _installed().point(group, is_own=group in _OWN)
    if group in _OWN:
        return _OWN[group]
    if point is None:
        raise ValueError(f"softthink.{group} is no method; the methods are {', '.join(groups())}")
    return _load(point)


@functools.cache
def _load(point: EntryPoint) -> Method:
    found, origin = _installed().load(point), _installed().origin(point)
    if not isinstance(found, Method):
        raise ValueError(f"{origin} is {found!r}: name a verl_softthink.methods.registry.Method")
    if found.group != point.name:
        raise ValueError(f"{origin} has group={found.group!r}: give record and entry point the same name")
    return found


def chosen(settings: object) -> list[Method]:
    """The methods whose groups the settings of a node give, in the order in which their stages run."""
    return [method(group) for group in groups() if getattr(settings, group, None) is not None]


def usable() -> list[Method]:
    """Ours, and the installed ones that can be loaded.

    For what is made before a configuration is known. One that cannot be loaded is logged and left out; a run that
    chooses it is refused with the reason.
    """
    found = list(METHODS)
    for group in _installed().points:
        try:
            found += [] if group in _OWN else [method(group)]
        except ValueError as error:
            logger.error("%s", error)
    return found


def parts(attribute: str, methods: Iterable[Method] | None = None) -> list:
    """What "package.module:object" names in that attribute of every usable method that has one."""
    named = [getattr(each, attribute) for each in (usable() if methods is None else methods)]
    return [load(target) for target in named if target is not None]


def registrations() -> list[tuple[str, str]]:
    """The (upstream module, function) pairs of all usable methods."""
    return [pair for each in usable() for pair in each.registrations]
