"""Run a function right after a module has been imported.

Upstream modules are heavy and most processes of a run need only a few of them, so nothing of verl or vLLM is
imported just to register something with it. Instead

    @when_imported("verl.trainer.ppo.core_algos")
    def register(module): ...

calls ``register`` with the module object as soon as somebody imports it: right after its code has run and before
the importer sees it, at once when it is already imported, and again after ``importlib.reload``. The module keeps its
own loader and spec. A failing callback fails the import, so that a half-registered module is never used.
"""

import importlib
import sys
import threading
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, TracebackType

Callback = Callable[[ModuleType], object]


class ImportHookError(RuntimeError):
    """A callback failed, or a module cannot be hooked. Not an ImportError: optional imports must not swallow it."""


class _Entry:
    """One callback and the execution (one spec per execution of a module) that it has been run for."""

    def __init__(self, callback: Callback):
        self.callback = callback
        self.ran_for: ModuleSpec | None = None


_entries: dict[str, list[_Entry]] = {}
_lock = threading.Lock()


def when_imported(name: str) -> Callable[[Callback], Callback]:
    """Return a decorator that runs ``callback(module)`` after every execution of the module ``name``.

    Raises:
        ImportHookError: the callback failed, or this very thread is still executing the module's code.
    """

    def decorate(callback: Callback) -> Callback:
        _install()
        with _lock:
            _entries.setdefault(name, []).append(_Entry(callback))
        if name in sys.modules:
            # Waits on the import lock when another thread is still executing the module.
            module = importlib.import_module(name)
            if getattr(module.__spec__, "_initializing", False):
                raise ImportHookError(
                    f"when_imported({name!r}): called while {name} itself is being imported; name a submodule of it"
                )
            _run_callbacks(name, module)
        return callback

    return decorate


def applied(name: str) -> list[str]:
    """Qualified names of the callbacks that have run for the module ``name`` as it is now."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    with _lock:
        ran = [entry.callback for entry in _entries.get(name, []) if spec is not None and entry.ran_for is spec]
    return [getattr(callback, "__qualname__", repr(callback)) for callback in ran]


def _run_callbacks(name: str, module: ModuleType) -> None:
    with _lock:
        due = [entry for entry in _entries[name] if entry.ran_for is not module.__spec__]
        for entry in due:
            entry.ran_for = module.__spec__
    # Outside the lock: a callback may import other hooked modules.
    for entry in due:
        with _Naming(name, entry.callback):
            entry.callback(module)


class _Naming:
    """Say which module's hook failed."""

    def __init__(self, module_name: str, callback: Callback):
        self.module_name = module_name
        self.callback_name = f"{callback.__module__}.{getattr(callback, '__qualname__', repr(callback))}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if isinstance(error, Exception):
            raise ImportHookError(
                f"{self.callback_name} failed after the import of {self.module_name}: {kind.__name__}: {error}"
            ) from error


class _Finder(MetaPathFinder):
    """Hands hooked modules a loader that runs their callbacks; all others are none of its business."""

    def find_spec(self, fullname, path, target=None):
        if fullname not in _entries:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is None:
                continue
            if not hasattr(spec.loader, "exec_module"):
                raise ImportHookError(f"cannot hook {fullname}: its loader {spec.loader!r} has no exec_module")
            spec.loader = _HookedLoader(spec.loader)
            return spec
        return None


class _HookedLoader(Loader):
    """Stands in for a module's loader until the module's code runs, then gives the place back."""

    def __init__(self, loader: Loader):
        self._loader = loader

    def __getattr__(self, name: str):
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _run_callbacks(module.__spec__.name, module)


_finder = _Finder()


def _install() -> None:
    with _lock:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
