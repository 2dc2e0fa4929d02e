"""Laws and methods that installed distributions add by entry points: who claims a name, and what it loads."""

from functools import cached_property
from importlib.metadata import EntryPoint, entry_points


class Installed:
    """The entry points of one group; they are listed at the first look-up, and none is imported before it is loaded.

    Args:
        group: name of the entry points' group.
        kind: what an entry point of the group adds, for messages: "law".
    """

    def __init__(self, group: str, kind: str):
        self.group, self.kind = group, kind

    @cached_property
    def points(self) -> dict[str, list[EntryPoint]]:
        """Entry points by name, the names sorted; several where distributions claim the same."""
        found: dict[str, list[EntryPoint]] = {}
        for point in sorted(entry_points(group=self.group), key=lambda point: point.name):
            found.setdefault(point.name, []).append(point)
        return found

    def names(self, own: tuple[str, ...]) -> tuple[str, ...]:
        """``own`` and, behind them, the installed names."""
        return (*own, *(name for name in self.points if name not in own))

    def point(self, name: str, *, is_own: bool) -> EntryPoint | None:
        """The entry point of a name, None if it has none.

        Args:
            name: name to look up.
            is_own: whether this package has one of that name itself.

        Raises:
            ValueError: the name is claimed twice.
        """
        points = self.points.get(name, [])
        if len(points) + is_own > 1:
            claims = [f"{point.value} of {point.dist.name}" for point in points] + ["verl_softthink itself"] * is_own
            raise ValueError(
                f"the {self.kind} {name!r} is claimed by {' and by '.join(claims)}: rename the entry point in "
                f"{self.group!r}, or uninstall the distribution"
            )
        return points[0] if points else None

    def origin(self, point: EntryPoint) -> str:
        """What messages call an entry point."""
        return f"the {self.kind} {point.name!r}, {point.value} of {point.dist.name}"

    def load(self, point: EntryPoint) -> object:
        """The object that the entry point names.

        Raises:
            ValueError: it cannot be imported. Whatever else its module raises comes out with its own traceback, which
                names the file.
        """
        try:
            return point.load()
        except (ImportError, AttributeError, SyntaxError) as error:
            raise ValueError(
                f"{self.origin(point)} cannot be loaded ({type(error).__name__}: {error}): repair or uninstall the "
                "distribution"
            ) from error
