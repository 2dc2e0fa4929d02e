"""Methods of other distributions, found by their entry points: real metadata and modules in a folder on the path."""

import shutil
import sys
from pathlib import Path

import pytest
from doctor.broken_installs import write_distribution

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.methods import registry
from verl_softthink.methods.registry import GROUP, METHODS, Method
from verl_softthink.methods.settings import parse_node
from verl_softthink.training.recipe_store import recipe_names, recipe_text

EXAMPLE = Path(__file__).parents[2] / "examples" / "09_your_own_method.py"
RECORD = "from verl_softthink.methods.registry import Method\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function: group, target, source of the module ``theirs``, in a world with ``tmp_path`` on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def forget():
        registry._installed.cache_clear()
        registry._load.cache_clear()
        for name in ("theirs", "brevity"):
            sys.modules.pop(name, None)

    def write(group: str, target: str, source: str = "", distribution: str = "their-methods") -> None:
        write_distribution(tmp_path, distribution, "1.0", entry_points=f"[{GROUP}]\n{group} = {target}\n")
        (tmp_path / "theirs.py").write_text(source)
        forget()

    forget()
    yield write
    forget()


@pytest.fixture
def brevity(install, tmp_path):
    """The example, installed."""
    install("brevity", "brevity:METHOD")
    shutil.copy(EXAMPLE, tmp_path / "brevity.py")


def test_every_name_in_our_records_exists():
    for method in METHODS:
        targets = [
            getattr(method, name)
            for name in ("settings", "stage", "check", "doubts", "engine", "metrics", "page", "commands")
        ]
        targets += [function for _, function in method.registrations]
        assert all(registry.load(target) is not None for target in targets if target is not None), method.group
    assert [method.group for method in METHODS] == list(dict.fromkeys(method.group for method in METHODS))


def test_a_group_chooses_an_installed_method_which_is_imported_then(brevity):
    assert "brevity" in registry.groups() and "brevity" not in sys.modules
    assert registry.chosen(parse_node({"repro": {}}))[0].group == "repro" and "brevity" not in sys.modules
    settings = parse_node({"repro": {}, "brevity": {"weight": 0.5}})
    assert settings.brevity.weight == 0.5
    assert [method.group for method in registry.chosen(settings)] == ["repro", "brevity"]
    assert registry.load(registry.method("brevity").stage).__name__ == "BrevityStage"
    with pytest.raises(ValueError, match=r"softthink\.brevity\.weight=-1"):
        parse_node({"brevity": {"weight": -1}})


def test_workers_read_a_node_without_knowing_the_methods_in_it(brevity):
    node = {"law": {"name": "gumbel"}, "brevity": {"weight": 0.5}, "repro": {"alpha": 0.3}}
    settings = SoftThinkSettings.of_node(node)
    assert settings.law.name == "gumbel" and "brevity" not in sys.modules


def test_an_unknown_group_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"softthink\.brevty.*unknown key.*repro"):
        parse_node({"brevty": {}})


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import missing_module", "cannot be loaded"),
        ("", "cannot be loaded"),
        ("METHOD = 3", "name a verl_softthink.methods.registry.Method"),
        (RECORD + "METHOD = Method('other', settings='a:b', stage='a:c')", "give record and entry point the same name"),
    ],
)
def test_a_broken_method_is_refused_where_it_is_chosen_and_harms_nobody_else(install, caplog, source, reason):
    install("theirs", "theirs:METHOD", source)
    assert [method.group for method in registry.usable()] == [method.group for method in METHODS]
    assert reason in caplog.text
    assert parse_node({"repro": {}}).repro is not None
    with pytest.raises(ValueError, match=reason):
        parse_node({"theirs": {}})


def test_a_group_that_is_taken_twice_is_refused_with_both_claims(install):
    install("repro", "theirs:METHOD", RECORD + "METHOD = Method('repro', settings='a:b', stage='a:c')")
    with pytest.raises(ValueError, match="claimed by theirs:METHOD of their-methods and by verl_softthink itself"):
        registry.method("repro")


def test_the_recipe_of_an_installed_method_can_be_selected(install, tmp_path):
    source = RECORD + "METHOD = Method('theirs', settings='a:b', stage='a:c', recipe='theirs_data:theirs.yaml')"
    install("theirs", "theirs:METHOD", source)
    (tmp_path / "theirs_data").mkdir()
    (tmp_path / "theirs_data" / "__init__.py").touch()
    (tmp_path / "theirs_data" / "theirs.yaml").write_text("softthink:\n  theirs: {}\n")
    assert "theirs" in recipe_names() and "soft_grpo" in recipe_names()
    assert recipe_text("theirs") == "softthink:\n  theirs: {}\n"


def test_a_record_needs_a_group_settings_and_a_stage():
    with pytest.raises(TypeError, match="stage"):
        Method("short", settings="a:b")
