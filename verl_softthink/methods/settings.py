"""The whole ``softthink:`` node: what every run has, and a group for each method."""

from collections.abc import Mapping

from pydantic import create_model

from verl_softthink.config.base import parse
from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.methods import registry


def parse_node(node: Mapping) -> SoftThinkSettings:
    """Validate a node; the settings of a method are None where its group is missing or null.

    Args:
        node: plain values.

    Raises:
        ValueError: with one line for each problem, naming the key, its value and the fix.
    """
    own = [method.group for method in registry.METHODS]
    # An installed method is imported where the node names it: one that is broken harms nobody who uses another.
    installed = [group for group in registry.groups() if group not in own and node.get(group) is not None]
    groups = {group: (registry.load(registry.method(group).settings) | None, None) for group in (*own, *installed)}
    return parse(create_model("NodeSettings", __base__=SoftThinkSettings, **groups), dict(node), "softthink")
