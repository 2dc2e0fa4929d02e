"""The tables for readers name only settings, recipes, laws and commands that exist, and every knob of the forks."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.composing import composed
from typer.main import get_command

from verl_softthink.cli import app
from verl_softthink.evaluation.modes import known_modes
from verl_softthink.laws import LAWS
from verl_softthink.methods.settings import parse_node
from verl_softthink.training.recipe_store import recipe_names

FOLDER = Path(__file__).parents[2] / "recipes"
TEXT = (FOLDER / "README.md").read_text()
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
#: Keys of verl's and of ours, with a value or without, wherever they are written as code.
SETTING = re.compile(r"`((?:softthink|actor_rollout_ref|algorithm|data|trainer|reward)(?:\.\w+)+)(?:=([^`\s]*))?[^`]*`")


@pytest.fixture(scope="module")
def config():
    """What a user's command line meets: keys that are not in it would need Hydra's + before them."""
    return composed(["+softthink=[cpu,soft_grpo,attnrl,repro]"])


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_of_the_forks_is_translated(knob):
    (row, *_) = [line for line in TEXT.splitlines() if line.startswith("|") and f"`{knob}`" in line.split("|")[1]]
    assert row.split("|")[2].strip()


def test_every_setting_can_be_overridden_as_it_is_written(config):
    found = SETTING.findall(TEXT)
    assert len({key for key, _ in found}) >= 20
    places = {key: key.rpartition(".")[::2] for key, _ in found}
    # By name, for a null is there too.
    assert [key for key, (group, name) in places.items() if name not in (OmegaConf.select(config, group) or {})] == []


def test_values_that_are_named_are_accepted(config):
    values = {(key, value) for key, value in SETTING.findall(TEXT) if value and value != "..."}
    assert ("softthink.law.name", "dirichlet") in values
    for key, value in values:
        # verl's own keys are in its configuration, and what they may be is verl's to say.
        changed = OmegaConf.merge(config, OmegaConf.from_dotlist([f"{key}={value}"]))
        parse_node(OmegaConf.to_container(changed.softthink, resolve=True))


def test_recipes_laws_modes_and_commands_exist():
    for law in re.findall(r"softthink\.law\.name=(\w+)", TEXT):
        assert law in LAWS
    selected = {
        name
        for group in re.findall(r"\+softthink=\[?([\w,]+)", TEXT)
        for name in group.split(",")
        if name.isidentifier()
    }
    assert selected == set(recipe_names())
    for command in re.findall(r"verl-softthink ([a-z-]+)", TEXT):
        assert command in get_command(app).commands
    modes = re.findall(r"--modes (\w+)", TEXT)
    assert modes and set(modes) <= set(known_modes())
    links = re.findall(r"\]\(([\w/.]+)\)", TEXT)
    assert links and all((FOLDER / link).exists() for link in links)
