"""The table of upstream symbols against the installed releases, and the switches."""

import logging
from pathlib import Path

import pytest
from packaging.version import Version

from verl_softthink.upstream import compat, source_scan
from verl_softthink.upstream.symbols import SYMBOLS, Symbol


def test_installed_releases_have_every_symbol():
    assert compat.version_problems() == []
    assert compat.symbol_problems() == []


def test_table_rows_are_unique_and_explained():
    keys = [(row.module, row.name, row.since) for row in SYMBOLS]
    assert len(keys) == len(set(keys))
    assert all(row.why for row in SYMBOLS)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("verl.trainer.ppo.v1.no_such_module", "PPOTrainer"),
        ("verl.trainer.ppo.v1.trainer_base", "NoSuchTrainer"),
        ("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.no_such_method"),
    ],
)
def test_missing_symbol_gives_one_sentence_with_reason_and_fix(module, name):
    (problem,) = compat.symbol_problems([Symbol(module, name, "why we need it")])
    assert f"{module}.{name}" in problem
    assert "why we need it" in problem
    assert "install a tested release" in problem


def test_rows_outside_their_releases_are_not_asked_for():
    absent = "verl.no_such_module"
    assert compat.symbol_problems([Symbol(absent, "x", "w", since="99")]) == []
    assert compat.symbol_problems([Symbol(absent, "x", "w", until="0.8")]) == []
    assert len(compat.symbol_problems([Symbol(absent, "x", "w", since="0.9", until="0.9")])) == 1


#: The newest 0.x release of vLLM whose sources the table was held against.
NEWEST_READ = 31


def test_each_vllm_has_one_row_for_routed_experts(monkeypatch):
    """The setting moved once: no release may fall between the rows, or have both."""
    rows = [row for row in SYMBOLS if row.name.endswith(".enable_return_routed_experts")]
    assert len(rows) > 1
    for minor in range(compat.VLLM_FIRST[1], NEWEST_READ + 1):
        monkeypatch.setattr(compat, "installed", lambda package, minor=minor: Version(f"0.{minor}.1"))
        missing = compat.symbol_problems(rows, roots={"vllm": Path("nowhere")})
        assert len(missing) == 1, minor


def test_another_release_can_be_checked_from_its_sources(tmp_path):
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "loop.py").write_text("class Loop:\n    def step(self): ...\n")
    rows = [Symbol("verl.trainer.loop", "Loop.step", "w"), Symbol("verl.trainer.loop", "Loop.stop", "w")]
    assert len(compat.symbol_problems(rows, roots={"verl": tmp_path})) == 1


def test_source_scan_finds_all_kinds_of_definitions(tmp_path):
    source = tmp_path / "kinds.py"
    source.write_text(
        "import a.b, c as d\nfrom e import f as g\nx, (y, z) = 1, (2, 3)\nn: int = 1\n"
        "if n:\n    def h(): ...\nelse:\n    async def i(): ...\n"
        "try:\n    j = 1\nexcept ImportError:\n    k = 2\nfinally:\n    m = 3\n"
        "class C(Base):\n    field: int\n    def method(self):\n        local = 1\n    class D:\n        deep = 1\n"
    )
    expected = {"a", "d", "g", "x", "y", "z", "n", "h", "i", "j", "k", "m", "C"}
    expected |= {"C.field", "C.method", "C.D", "C.D.deep"}
    assert source_scan.names(source) == expected


def test_source_scan_reads_the_keys_of_a_dictionary(tmp_path):
    source = tmp_path / "loaders.py"
    source.write_text('a: dict[str, type] = {"one": A, "two": B}\nb = {"three": A, **a}\nc = dict(four=A)\n')
    found = {name: source_scan.keys(source, name) for name in "abcd"}
    assert found == {"a": {"one", "two"}, "b": {"three"}, "c": set(), "d": set()}


def test_strict_raises_what_otherwise_is_logged(monkeypatch, caplog):
    monkeypatch.setattr(compat, "VERL_TESTED", "0.0.0")
    with caplog.at_level(logging.WARNING):
        (problem,) = compat.check_versions()
    assert "untested" in problem
    assert problem in caplog.text
    monkeypatch.setenv("VERL_SOFTTHINK_STRICT", "1")
    with pytest.raises(compat.CompatError, match="untested"):
        compat.check_versions()
    with pytest.raises(compat.CompatError, match="untested"):
        compat.check()
    assert compat.check(strict_mode=False) == [problem]


def test_unsupported_series_is_named_with_the_fix(monkeypatch):
    monkeypatch.setattr(compat, "VERL_SERIES", (0, 8))
    (problem,) = compat.version_problems()
    assert "works with verl 0.8.x" in problem
    assert "pip install" in problem


def test_switches_take_0_and_1_only(monkeypatch):
    for value, expected in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("VERL_SOFTTHINK_DISABLE", value)
        assert compat.disabled() is expected
    monkeypatch.setenv("VERL_SOFTTHINK_DISABLE", "yes")
    with pytest.raises(ValueError, match="VERL_SOFTTHINK_DISABLE='yes'"):
        compat.disabled()


def test_warnings_are_seen_beside_vllms_server(monkeypatch):
    """Its import of this library would set the root logger to ERROR."""
    from model_hosting_container_standards.logging_config import configure_root_logger

    for variable in ("LOG_LEVEL", "SAGEMAKER_CONTAINER_LOG_LEVEL"):
        monkeypatch.delenv(variable, raising=False)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    compat.keep_warnings()
    configure_root_logger()
    assert root.level == logging.WARNING
    # A level that somebody has chosen stands.
    monkeypatch.delenv("SAGEMAKER_CONTAINER_LOG_LEVEL")
    monkeypatch.setenv("LOG_LEVEL", "CRITICAL")
    compat.keep_warnings()
    configure_root_logger()
    assert root.level == logging.CRITICAL
