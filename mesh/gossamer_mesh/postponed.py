"""Imports that somebody else makes in vain, put off until what was imported is used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Generator
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module that is not loaded before something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        _forget(self)
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def postponed(*names: str) -> Generator[None, None, None]:
    """Let who imports these modules meanwhile have them later; others load them as ever."""
    missing = [name for name in names if name not in sys.modules and importlib.util.find_spec(name)]
    standing = [_Later(name) for name in missing]
    sys.modules.update({each.__name__: each for each in standing})
    try:
        yield
    finally:
        for each in standing:
            _forget(each)


def _forget(later: _Later) -> None:
    if sys.modules.get(later.__name__) is later:
        del sys.modules[later.__name__]
