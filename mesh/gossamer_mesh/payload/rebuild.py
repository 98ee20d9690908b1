"""Makes objects of the parts that a result was read into, once no opcode is left.

Containers are filled in place from a stack, so that neither depth nor cycles matter; only what a
call needs as its arguments is made before it, and that is as deep as the C stack allows.
"""

from __future__ import annotations

import enum
import importlib
import types
from collections.abc import Callable
from typing import Any, Final, cast

from gossamer_mesh.errors import PayloadError, UntrustedResultError
from gossamer_mesh.payload import own
from gossamer_mesh.payload.allowed import BUILDERS
from gossamer_mesh.payload.builders import Content, named
from gossamer_mesh.payload.exceptions import set_exception_state
from gossamer_mesh.payload.parts import NOTHING, Name, Part
from gossamer_mesh.payload.trust import Trust

_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes, bytearray, memoryview})


class Rebuild:
    """One result being made. `finish(root)` returns it."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        # By id, with what had that id: an id may only be looked up while its owner lives.
        self._made: dict[int, tuple[object, object]] = {}
        self._making: set[int] = set()
        self._names: dict[Name, object] = {}
        # Containers and parts that exist and are still to be filled, and those whose keys or
        # members can be hashed only when everything above them on the stack is filled.
        self._unfilled: list[object] = []
        self._unhashed: list[object] = []
        self._filled: dict[int, object] = {}

    def finish(self, value: object) -> object:
        """Return what `value` stands for, with everything in it made and filled."""
        unfilled, unhashed = len(self._unfilled), len(self._unhashed)
        made = self._make(value)
        while len(self._unfilled) > unfilled:
            self._fill(self._unfilled.pop())
        while len(self._unhashed) > unhashed:
            self._hash(self._unhashed.pop())
        return made

    def _make(self, value: object) -> object:
        kind = type(value)
        if kind in _LEAVES:
            return value
        if kind is Name:
            return self._named(cast("Name", value))
        if kind is Part:
            return self._part(cast("Part", value))
        if kind is tuple or kind is frozenset:
            return self._immutable(cast("tuple[object, ...] | frozenset[object]", value))
        if id(value) not in self._filled:
            self._unfilled.append(value)
        return value

    def _immutable(self, value: tuple[object, ...] | frozenset[object]) -> object:
        if _is_leafy(value):
            return value
        if known := self._made.get(id(value)):
            return known[1]
        made: object
        if isinstance(value, tuple):
            made = tuple([self._make(item) for item in value])
        else:
            made = frozenset([self.finish(item) for item in value])
        self._made[id(value)] = (value, made)
        return made

    def _fill(self, value: object) -> None:
        if id(value) in self._filled:
            return
        self._filled[id(value)] = value
        match value:
            case Part():
                self._complete(value)
            case list():
                items = cast("list[object]", value)
                if not _is_leafy(items):
                    items[:] = [self._make(item) for item in items]
            case dict():
                fields = cast("dict[object, object]", value)
                if not _is_leafy(fields):
                    self._unhashed.append(fields)
                elif not _is_leafy(fields.values()):
                    for key, item in fields.items():
                        fields[key] = self._make(item)
            case set():
                if not _is_leafy(cast("set[object]", value)):
                    self._unhashed.append(cast("set[object]", value))
            case _:
                raise PayloadError(f"a result does not hold a {type(value).__qualname__}")

    def _hash(self, value: object) -> None:
        if isinstance(value, dict):
            fields = cast("dict[object, object]", value)
            made = [(self.finish(key), self.finish(item)) for key, item in fields.items()]
            fields.clear()
            fields.update(made)
        else:
            members = cast("set[object]", value)
            ready = [self.finish(member) for member in members]
            members.clear()
            members.update(ready)

    def _named(self, name: Name) -> object:
        found = self._names.get(name)
        if found is None:
            if name.grant == "own":
                found = own.find_own(name.module, name.qualname)
            elif name.grant == "listed":
                found = named(name)
            else:
                found = self._trusted(name)
            self._names[name] = found
        return found

    def _trusted(self, name: Name) -> object:
        """Return what a trusted package itself defines; not what it merely imported."""
        found: Any = importlib.import_module(name.module)
        for part in name.qualname.split("."):
            found = getattr(found, part)
            if isinstance(found, types.ModuleType):
                raise PayloadError(f"{name} names a module")
        home = getattr(found, "__module__", None) or type(found).__module__
        if not isinstance(home, str) or not self._trust.trusts(home):
            raise UntrustedResultError(
                f"the result names {name}, which is not of that package but of {home}, and "
                f"that is not trusted here",
                kind=str(name),
            )
        return found

    def _part(self, part: Part) -> object:
        if known := self._made.get(id(part)):
            return known[1]
        if id(part) in self._making:
            raise PayloadError(f"a {part.name} is made of itself")
        self._making.add(id(part))
        made = self._start(part)
        self._made[id(part)] = (part, made)
        return made

    def _start(self, part: Part) -> object:
        name = part.name
        args = part.args
        if not _is_leafy(args):
            args = cast("tuple[object, ...]", self.finish(args))
        if name.grant == "listed" and (builder := BUILDERS.get((name.module, name.qualname))):
            state = part.state if part.state is NOTHING else self.finish(part.state)
            if part.items or part.pairs:
                self.finish([part.items, part.pairs])
            for content in (*args, part.items, *part.pairs):
                _refuse_unmade(name, content)
            return builder(name, Content(args, state, part.items, part.pairs))
        cls = self._named(name)
        if name.grant == "trusted":
            made = _make_trusted(cls, args, bare=part.bare)
        elif name.grant == "own":
            made = own.make_bare(cast("type", cls), args, called=not part.bare)
        else:
            made = _make_listed_exception(name, cls, args)
        if part.state is not NOTHING or part.items or part.pairs:
            self._unfilled.append(part)
        return made

    def _complete(self, part: Part) -> None:
        made: Any = self._made[id(part)][1]
        own_rules = part.name.grant != "trusted"
        if part.items:
            items = [self._make(item) for item in part.items]
            own.set_content(made, items, []) if own_rules else made.extend(items)
        if part.pairs:
            pairs = [(self.finish(key), self._make(item)) for key, item in part.pairs]
            if own_rules:
                own.set_content(made, [], pairs)
            else:
                for key, item in pairs:
                    made[key] = item
        if part.state is NOTHING:
            return
        if not own_rules and hasattr(made, "__setstate__"):
            made.__setstate__(self.finish(part.state))
        elif isinstance(made, BaseException):
            set_exception_state(made, self._fields(part.state))
        else:
            own.set_state(made, self._fields(part.state))

    def _fields(self, state: object) -> object:
        """Make the values of a state, and leave them to be filled: chains of objects are long."""
        match state:
            case dict():
                named_values = cast("dict[object, object]", state)
                return {key: self._make(value) for key, value in named_values.items()}
            case tuple():
                fields, slots = cast("tuple[object, object]", state)
                return self._fields(fields), self._fields(slots)
            case None:
                return None
            case _:
                raise PayloadError("a state is a dict of names, or two of them")


def _make_trusted(cls: object, args: tuple[object, ...], *, bare: bool) -> object:
    if not bare:
        return cast("Callable[..., object]", cls)(*args)
    if not isinstance(cls, type):
        raise PayloadError("an instance is given by a class")
    made_of: type[object] = cls
    if _needs_args(made_of):
        return own.make_bare(made_of, args, called=False)
    return cast("Callable[..., object]", made_of.__new__)(made_of, *args)


def _needs_args(cls: type[object]) -> bool:
    """Tell whether `__new__` alone would leave out the content that the args are."""
    return issubclass(cls, enum.Enum | BaseException | set)


def _make_listed_exception(name: Name, cls: object, args: tuple[object, ...]) -> object:
    if not (isinstance(cls, type) and issubclass(cls, BaseException)):
        raise PayloadError(f"a result may name {name}, not call it")
    return cls(*args)


def _refuse_unmade(name: Name, content: object) -> None:
    """Refuse what is still a part: a container that is being filled, and holds this object."""
    if isinstance(content, list | tuple | dict):
        kinds = {*map(type, cast("list[object]", content))}
        if isinstance(content, dict):
            kinds.update(map(type, cast("dict[object, object]", content).values()))
        if Part in kinds:
            raise PayloadError(f"a {name} is made of itself")


def _is_leafy(values: Any) -> bool:
    return _LEAVES.issuperset(map(type, values))
