"""The table of all parameters for readers, from their declarations: ``recipes/soft_grpo/README.md`` has it."""

from collections.abc import Iterable

from verl_softthink.laws.base import Law
from verl_softthink.laws.parameters import Parameter


def parameter_table(laws: Iterable[Law]) -> str:
    """Markdown, a row for each parameter: key, the laws that have it, default, range and meaning."""
    users: dict[Parameter, list[str]] = {}
    for law in laws:
        for parameter in law.parameters:
            users.setdefault(parameter, []).append(f"`{law.name}`")
    rows = ["| key | default | laws | range | meaning |", "|---|---|---|---|---|"]
    for parameter, names in users.items():
        rows.append(
            f"| `softthink.law.{parameter.name}` | `{parameter.default}` | {', '.join(names)} | {parameter.range} | "
            f"{parameter.doc} |"
        )
    return "\n".join(rows)
