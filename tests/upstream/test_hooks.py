"""Import hooks on real modules written to a temporary folder."""

import importlib
import inspect
import pickle
import sys
import threading
from importlib import resources

import pytest

from verl_softthink.upstream.hooks import ImportHookError, when_imported


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    """Write a module, make it importable, forget it afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write(name: str, source: str) -> str:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in list(path.relative_to(tmp_path).parents)[:-1]:
            (tmp_path / parent / "__init__.py").touch()
        path.write_text(source)
        importlib.invalidate_caches()
        written.append(name)
        return name

    yield write
    for name in list(sys.modules):
        if any(name == top or top.startswith(f"{name}.") for top in written):
            del sys.modules[name]


def test_callback_sees_the_finished_module_before_its_importer(make_module):
    name = make_module("hooked_a.inner", "VALUE = 1\n")
    importer = make_module("hooked_a.importer", "from hooked_a.inner import VALUE\n")
    when_imported(name)(lambda module: setattr(module, "VALUE", module.VALUE + 1))
    assert importlib.import_module(importer).VALUE == 2


def test_already_imported_module_is_served_at_once(make_module):
    name = make_module("hooked_b", "VALUE = 1\n")
    module = importlib.import_module(name)
    seen = []
    when_imported(name)(seen.append)
    assert seen == [module]


def test_callbacks_run_in_order_once_and_again_after_reload(make_module):
    name = make_module("hooked_c", "VALUE = 1\n")
    calls = []
    when_imported(name)(lambda module: calls.append("first"))
    when_imported(name)(lambda module: calls.append("second"))
    module = importlib.import_module(name)
    importlib.import_module(name)
    assert calls == ["first", "second"]
    assert importlib.reload(module) is module
    assert calls == ["first", "second"] * 2


def test_module_keeps_its_own_loader_spec_source_and_resources(make_module):
    hooked = make_module("hooked_d.inner", "def f():\n    return 1\n")
    plain = make_module("hooked_d.plain", "")
    when_imported("hooked_d")(lambda module: None)
    when_imported(hooked)(lambda module: None)
    module, other = importlib.import_module(hooked), importlib.import_module(plain)
    package = sys.modules["hooked_d"]
    assert type(module.__loader__) is type(other.__loader__)
    assert module.__loader__ is module.__spec__.loader
    assert module.__spec__.origin == module.__file__
    assert inspect.getsource(module.f) == "def f():\n    return 1\n"
    assert {entry.name for entry in resources.files(package).iterdir()} >= {"inner.py", "plain.py"}
    assert pickle.loads(pickle.dumps(module.f)) is module.f


def test_failing_callback_fails_the_import_and_names_the_module(make_module):
    name = make_module("hooked_e", "VALUE = 1\n")
    attempts = []

    def fail_once(module):
        attempts.append(module)
        if len(attempts) == 1:
            raise KeyError("no such registry")

    when_imported(name)(fail_once)
    with pytest.raises(ImportHookError, match=r"fail_once failed after the import of hooked_e: KeyError.*registry"):
        importlib.import_module(name)
    assert name not in sys.modules
    assert importlib.import_module(name).VALUE == 1
    assert len(attempts) == 2


def test_error_of_the_module_itself_is_left_alone(make_module):
    name = make_module("hooked_f", "raise LookupError('mine')\n")
    calls = []
    when_imported(name)(calls.append)
    with pytest.raises(LookupError, match="mine"):
        importlib.import_module(name)
    assert calls == []


def test_hook_set_while_the_same_thread_executes_the_module_is_refused(make_module):
    name = make_module(
        "hooked_g",
        "from verl_softthink.upstream.hooks import when_imported\nwhen_imported('hooked_g')(lambda module: None)\n",
    )
    with pytest.raises(ImportHookError, match="hooked_g itself is being imported"):
        importlib.import_module(name)


def test_hook_set_by_another_thread_waits_for_the_import_and_runs_once(make_module):
    name = make_module("hooked_h", "import hooked_h_gate\nVALUE = 1\n")
    gate = make_module("hooked_h_gate", "import threading\nopened = threading.Event()\nreached = threading.Event()\n")
    gates = importlib.import_module(gate)
    make_module("hooked_h", "import hooked_h_gate as g\ng.reached.set()\nassert g.opened.wait(30)\nVALUE = 1\n")
    early, late = [], []
    when_imported(name)(lambda module: early.append(module.VALUE))
    importing = threading.Thread(target=importlib.import_module, args=(name,))
    importing.start()
    assert gates.reached.wait(30)
    hooking = threading.Thread(target=lambda: when_imported(name)(lambda module: late.append(module.VALUE)))
    hooking.start()
    gates.opened.set()
    importing.join(30)
    hooking.join(30)
    assert (early, late) == ([1], [1])


def test_modules_without_a_hook_are_not_touched(make_module):
    name = make_module("hooked_i", "")
    module = importlib.import_module(name)
    assert type(module.__loader__).__name__ == "SourceFileLoader"
