"""Which classes a pickle of ours makes by value: read without making anything of it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from gossamer_mesh.payload.dump import Payload


class Brought(NamedTuple):
    """A class as cloudpickle writes it; `tracker` is the same for the same class of one process."""

    module: str
    name: str
    tracker: str


def classes_brought(payload: Payload) -> list[Brought]:
    """Return the classes that arguments bring by value."""
    reader = _Reader(payload)
    reader.load()
    return reader.found


class _Inert:
    """Stands for everything, and does nothing that is asked of it."""

    def __new__(cls, *_: object) -> Self:
        return object.__new__(cls)

    def __init__(self, *_: object) -> None:
        """Whatever it is made of."""

    def __call__(self, *_: object) -> _Inert:
        return self

    def __setstate__(self, *_: object) -> None:
        """It has none."""

    def append(self, *_: object) -> None:
        """It holds nothing."""

    def extend(self, *_: object) -> None:
        """It holds nothing."""

    def add(self, *_: object) -> None:
        """It holds nothing."""

    def update(self, *_: object) -> None:
        """It holds nothing."""

    def __setitem__(self, *_: object) -> None:
        """It holds nothing."""


class _Reader(pickle.Unpickler):
    def __init__(self, payload: Payload) -> None:
        buffers: Iterable[Any] = payload.buffers
        super().__init__(io.BytesIO(payload.data), buffers=buffers)
        self.found: list[Brought] = []

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name.startswith("cloudpickle"):
            if global_name == "_make_skeleton_class":
                return self._class
            if global_name == "_make_skeleton_enum":
                return self._enum
        return _Inert

    def persistent_load(self, pid: object, /) -> _Inert:
        del pid
        return _Inert()

    def _class(self, *made_of: Any) -> type[_Inert]:
        _, name, _, keywords, tracker, _ = made_of
        self.found.append(Brought(str(keywords.get("__module__", "")), str(name), str(tracker)))
        return _Inert

    def _enum(self, *made_of: Any) -> type[_Inert]:
        _, name, _, _, module, tracker, _ = made_of
        self.found.append(Brought(str(module), str(name), str(tracker)))
        return _Inert
