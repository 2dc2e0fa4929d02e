"""Soft traces as one self-contained HTML page: what was shown, what was fed, and how sure the law was.

No script, style, font or picture comes from elsewhere, and the page's own policy allows no script but its own.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from verl_softthink.report.profile_strip import MIDDLE, Scale, profile
from verl_softthink.report.trace_view import ENDING, IN_TOKENS, THINKING, TracedResponse, view
from verl_softthink.report.tree_view import TreeView

__all__ = ["TracedResponse", "render_page"]

TEMPLATE = "trace_page.html"


def render_page(responses: Sequence[TracedResponse], title: str, trees: Sequence[TreeView] = ()) -> str:
    """The page as text; trees of responses, where a run grew some, stand above the responses.

    Raises:
        ValueError: no responses.
    """
    if not responses:
        raise ValueError("responses is empty: give at least one traced response")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["policy_hash"] = _policy_hash
    views = [view(item) for item in responses]
    scale = Scale.of(position for item in views for position in item["positions"])
    for item in views:
        item["profile"] = profile(item["positions"], scale, frozenset((THINKING, IN_TOKENS, ENDING)))
    return environment.get_template(TEMPLATE).render(title=title, responses=views, middle=MIDDLE, trees=list(trees))


def _policy_hash(script: str) -> str:
    """The script's source expression for a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
