"""Every law by its name: our own, in one list, and those that installed distributions add.

A distribution adds a law by an entry point; its name is the law's, its object the law's class:

    [project.entry-points."verl_softthink.laws"]
    blend = "my_package.blend:BlendLaw"

So every process of a run (driver, vLLM's engine, actor) finds it by itself. The entry points are listed at the first
look-up, and a law is imported when it is first used: one that is broken harms nobody who uses another.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint

from verl_softthink.installed import Installed
from verl_softthink.laws.base import Law

GROUP = "verl_softthink.laws"
#: Keys of ``softthink.law`` that every law has.
COMMON_KEYS = ("name", "normalise_over")


class LawRegistry(Mapping[str, Law]):
    """Laws by name: ours first, in their order, then the installed ones, sorted.

    Looking up a law raises ValueError when its entry point cannot be used or its name is taken twice.

    Args:
        own: the laws of this package.
    """

    def __init__(self, own: Iterable[Law]):
        self.own = tuple(own)
        self._laws = {law.name: law for law in self.own}

    @cached_property
    def _installed(self) -> Installed:
        return Installed(GROUP, "law")

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return self._installed.names(tuple(law.name for law in self.own))

    def __getitem__(self, name: str) -> Law:
        point = self._installed.point(name, is_own=any(law.name == name for law in self.own))
        if name not in self._laws:
            if point is None:
                raise KeyError(name)
            self._laws[name] = self._load(point)
        return self._laws[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def number(self, name: str) -> int:
        """Position of the name, the same throughout a process: what stands for the law in a tensor."""
        return self._names.index(name)

    def _load(self, point: EntryPoint) -> Law:
        law = self._installed.load(point)
        if problem := self._problem(law, point.name):
            raise ValueError(f"{self._installed.origin(point)} {problem}")
        return law()

    def _problem(self, law: object, name: str) -> str | None:
        """What keeps an entry point's object from being used."""
        if not (isinstance(law, type) and issubclass(law, Law)):
            return f"is {law!r}: name a class derived from verl_softthink.laws.Law"
        if law.__abstractmethods__:
            return f"lacks {', '.join(sorted(law.__abstractmethods__))}: see verl_softthink.laws.Law"
        if getattr(law, "name", None) != name:
            return f"has name = {getattr(law, 'name', None)!r}: give law and entry point the same name"
        if law.draws_embedding:
            return "has draws_embedding = True: only 'gaussian' can; draw weights"
        for parameter in law.parameters:
            if parameter.name in COMMON_KEYS:
                return f"has a parameter {parameter.name!r}, a key that every law has: rename it"
            # Requests of several laws share one column.
            for other in self._laws.values():
                if any(parameter.name == known.name and parameter != known for known in other.parameters):
                    return (
                        f"has a parameter {parameter.name!r} that is another than that of the law {other.name!r}: use "
                        "the same object, or rename it"
                    )
        return None
