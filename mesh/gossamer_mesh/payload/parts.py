"""What stands in for every object that is not plain data while a result is being read.

Opcodes make nothing but plain data, `Name`s and `Part`s: a call is noted, not made; a state is
kept, not set. Only after the last opcode does `rebuild` make objects of them, by its own rules.
So no opcode ever holds an object that it could call, change or compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, cast

import msgspec

from gossamer_mesh.errors import PayloadError

Grant = Literal["listed", "own", "trusted"]
"""Why a name is accepted: the allow-list, the caller's own module, the caller's explicit word."""

NOTHING: Final = msgspec.UNSET


class Name(msgspec.Struct, frozen=True):
    """A class or function by name. Calling it says what is to be called later."""

    module: str
    qualname: str
    grant: Grant

    def __call__(self, *args: object) -> Part:
        return Part(self, args)

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname}"


class Part(msgspec.Struct, eq=False):
    """One object to be: `name(*args)`, or `name.__new__` if `bare`, then state, items, pairs."""

    name: Name
    args: tuple[object, ...]
    bare: bool = False
    state: object = NOTHING
    items: list[object] = []
    pairs: list[tuple[object, object]] = []

    def __setstate__(self, state: object) -> None:
        if self.state is not NOTHING:
            raise PayloadError(f"the state of a {self.name} is given twice")
        self.state = state

    def append(self, item: object) -> None:
        self.items.append(item)

    def extend(self, items: list[object]) -> None:
        self.items.extend(items)

    def __setitem__(self, key: object, value: object) -> None:
        self.pairs.append((key, value))


class Named(msgspec.Struct, frozen=True):
    """Stands for the worker's `named`: a class that the worker has by value, by its name here."""

    find: Callable[[str, str], Name]

    def __call__(self, module: object, qualname: object) -> Name:
        if type(module) is not str or type(qualname) is not str:
            raise PayloadError("a class is named by two strings")
        return self.find(module, qualname)


class Instance(msgspec.Struct, frozen=True):
    """Stands for the worker's `instance`: an object made by its class's `__new__`, then state."""

    def __call__(self, name: object, args: object) -> Part:
        if type(name) is not Name or type(args) is not tuple:
            raise PayloadError("an instance is given by a class and a tuple")
        return Part(name, cast("tuple[object, ...]", args), bare=True)
