"""What a check says: one status and one sentence, which names the fix where there is one."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """``failure`` makes the doctor's exit code 1; ``warning`` does not."""

    ok = "ok"
    warning = "warning"
    failure = "failure"


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        check: what was looked at, e.g. "versions".
        status: how it is.
        text: the sentence.
    """

    check: str
    status: Status
    text: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> "Finding":
        """Read what ``as_dict`` gave."""
        return cls(values["check"], Status(values["status"]), values["text"])


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, Status.ok, text)


def warning(check: str, text: str) -> Finding:
    """It may work."""
    return Finding(check, Status.warning, text)


def failure(check: str, text: str) -> Finding:
    """It will not work."""
    return Finding(check, Status.failure, text)
