"""What recipes compute from other keys: OmegaConf resolvers, in every process that reads a run's configuration.

``${softthink.sum:${data.max_prompt_length},${data.max_response_length}}`` is the length of a whole sequence;
``${softthink.if_local:${.address},16}`` is a size of the run's own Ray cluster.
"""

import math
from types import ModuleType

#: Value of ``ray_kwargs.ray_init.address`` by which Ray starts a cluster of the run's own.
LOCAL = "local"


def total(*values: int | None) -> int | None:
    """The sum; null where one is not set."""
    return None if None in values else sum(values)


def largest(*values: int | None) -> int:
    """The largest of those that are set."""
    return max(value for value in values if value is not None)


def product(*values: int | None) -> int | None:
    """The product; null where one is not set."""
    return None if None in values else math.prod(values)


def if_local(address: str, value: int) -> int | None:
    """``value`` where Ray starts a cluster; null where it joins one, which refuses sizes."""
    return value if address == LOCAL else None


def register(omegaconf: ModuleType) -> None:
    """``omegaconf``: add the resolvers ``softthink.sum``, ``.product``, ``.max`` and ``.if_local``."""
    resolvers = {"sum": total, "product": product, "max": largest, "if_local": if_local}
    for name, resolver in resolvers.items():
        omegaconf.OmegaConf.register_new_resolver(f"softthink.{name}", resolver, replace=True)
