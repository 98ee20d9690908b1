"""Makes cloudpickle send the user's own code by value, so that agents need not have it.

What is own code, `origin` says. cloudpickle keeps the modules to send by value in one
process-wide registry; they are in it only while something is being pickled here, and those that
the user put there stay. What is included travels as files, and is pickled by name.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import types
from collections.abc import Generator
from typing import Any, Final

from gossamer_mesh.origin import included, is_own_code


def cloudpickle() -> Any:
    """Return the module: it takes 30 ms to import, and plain calls do without it."""
    import cloudpickle as module  # type: ignore[import-untyped] # pyright: ignore[reportMissingTypeStubs] # noqa: PLC0415 - see above

    return module


class _Registry:
    """Counts who is pickling; the first in registers, the last out takes it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._registered: list[types.ModuleType] = []
        self._known = 0
        self._own: list[types.ModuleType] = []

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        with self._lock:
            if self._inside == 0:
                self._register()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside = max(0, self._inside - 1)
                if self._inside == 0:
                    self._unregister()

    def forked(self) -> None:
        """In a child, which has none of the threads that may be inside or hold the lock."""
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._unregister()

    def _register(self) -> None:
        registry = cloudpickle()
        # Looking at a thousand modules takes 1 ms; they only change by imports.
        if len(sys.modules) != self._known:
            # Some put other things than modules there.
            modules: list[tuple[str, object]] = list(sys.modules.items())
            self._known = len(modules)
            self._own = [
                module
                for name, module in modules
                if isinstance(module, types.ModuleType)
                and module.__name__ == name
                and is_own_code(module)
            ]
        already = registry.list_registry_pickle_by_value()
        for module in self._own:
            if included and module.__name__.partition(".")[0] in included:
                continue
            if module.__name__ not in already and sys.modules.get(module.__name__) is module:
                registry.register_pickle_by_value(module)
                self._registered.append(module)

    def _unregister(self) -> None:
        registry = cloudpickle()
        still = registry.list_registry_pickle_by_value()
        for module in self._registered:
            if module.__name__ in still:
                registry.unregister_pickle_by_value(module)
        self._registered.clear()


_registry: Final = _Registry()
own_code_by_value: Final = _registry.held

os.register_at_fork(after_in_child=_registry.forked)
