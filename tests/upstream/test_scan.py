"""The table of upstream symbols against what this package's sources touch, in both directions."""

import pytest

from upstream.sources import source
from upstream.touched import Touched, touched
from verl_softthink.upstream.symbols import STABLE, SYMBOLS

ROWS = {(row.module, row.name) for row in SYMBOLS}
#: Classes of which an attribute has a row.
CLASSES = {(module, name.partition(".")[0]) for module, name in ROWS if "." in name}


@pytest.fixture(scope="module")
def found() -> Touched:
    return touched()


def test_everything_that_is_touched_has_a_row(found):
    missing = found.names.keys() - ROWS - CLASSES - STABLE
    assert not missing, [f"{module}.{name} ({found.names[module, name]})" for module, name in sorted(missing)]


def test_every_row_is_touched(found):
    assert ROWS - found.names.keys() - found.absent == set()
    assert STABLE - found.names.keys() == set()


def test_rows_that_the_installed_releases_lack_are_bounded(found):
    """An attribute that is read, and that the installed class does not have, belongs to another release."""
    bounded = {(row.module, row.name) for row in SYMBOLS if row.since or row.until}
    assert ROWS - found.names.keys() <= bounded


def test_private_attributes_of_unknown_owners_have_a_row(found):
    last_parts = {name.rpartition(".")[2] for _, name in ROWS}
    assert {name: path for name, path in found.private.items() if name not in last_parts} == {}


#: Groups of entry points, which are spelt like modules.
GROUPS = {"verl.plugins", "vllm.general_plugins"}


def test_modules_named_in_strings_exist(found):
    """What waits for the import of a module that is not there never happens."""
    bounded = {row.module for row in SYMBOLS if row.since or row.until}
    modules = found.strings.keys() - GROUPS - bounded
    assert len(modules) > 20
    assert [f"{name} ({found.strings[name]})" for name in sorted(modules) if source(name) is None] == []


@pytest.mark.parametrize(
    "name",
    [
        "FSDPEngine._gather_and_unpad_packed",
        'output_args["temperature_rmpad"]',
        "ReplayBuffer.failure_keys",
        "GPUModelRunner.discard_request_mask",
        "PluggableLayer.register_oot",
        "PPOTrainer._step_once",
        "CPUOffloadPolicy",
        "WorkerBase.check_health",
        "Sampler.__call__",
    ],
)
def test_the_scan_sees_each_kind_of_touch(found, name):
    """A call on self, a key, an attribute, a wrapped class, a registry, an override, a replacement, text."""
    assert name in {touched_name for _, touched_name in found.names}
