"""The tables for readers name only settings and recipes that exist, and every knob of the published forks."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from verl_softthink.cli import app
from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.config.store import recipe_names
from verl_softthink.laws import LAWS

TEXT = (Path(__file__).parents[2] / "recipes" / "README.md").read_text()
KNOBS = [
    "enable_soft_thinking",
    "max_topk",
    "gumbel_softmax_temperature",
    "noise_factor",
    "add_noise_gumbel_softmax",
    "add_noise_dirichlet",
    "dirichlet_alpha",
    "early_stopping_entropy_threshold",
    "early_stopping_length_threshold",
    "after_thinking_temperature",
    "after_thinking_top_p",
    "after_thinking_top_k",
    "after_thinking_min_p",
    "think_end_str",
]


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_of_the_forks_is_translated(knob):
    (row, *_) = [line for line in TEXT.splitlines() if line.startswith("|") and f"`{knob}`" in line.split("|")[1]]
    assert row.split("|")[2].strip()


def test_settings_recipes_laws_and_commands_exist():
    law_and_filter = SoftThinkSettings.model_validate({"law": {}, "filter": {}, "phase": {}})
    for key in re.findall(r"`softthink\.([a-z_.]+)", TEXT):
        node = law_and_filter
        for part in key.split("."):
            assert part in type(node).model_fields, f"softthink.{key} does not exist"
            node = getattr(node, part)
    for law in re.findall(r"softthink\.law\.name=(\w+)", TEXT):
        assert law in LAWS
    selected = {
        name
        for group in re.findall(r"\+softthink=\[?([\w,]+)", TEXT)
        for name in group.split(",")
        if name.isidentifier()
    }
    assert selected <= set(recipe_names()) and {"soft_grpo", "cpu"} <= selected
    for command in re.findall(r"verl-softthink ([a-z]+)", TEXT):
        assert command in get_command(app).commands
