"""Which classes arguments bring by value is read off their pickle, and nothing is made of it."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import sys
import types
from typing import Any

import pytest

from gossamer_mesh.payload.brought import classes_brought
from gossamer_mesh.payload.dump import dump_arguments

SOURCE = """
import enum, dataclasses, collections

@dataclasses.dataclass
class Point:
    x: int

class Deep(Point):
    def __setstate__(self, state):
        raise AssertionError("made")

class Colour(enum.Enum):
    RED = 1

def key(point):
    return point.x
"""


@pytest.fixture
def own() -> Any:
    """A module that is nowhere installed: what is of it travels by value."""
    module = types.ModuleType("__main__")
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    exec(SOURCE, module.__dict__)  # noqa: S102  there is no other way to have a main module
    yield module
    sys.modules["__main__"] = before


def names(*args: object) -> set[tuple[str, str]]:
    payload = dump_arguments(args, {}, what="f")
    return {(brought.module, brought.name) for brought in classes_brought(payload)}


def test_classes_of_instances_of_enums_and_bases_are_found_wherever_they_are(own: Any) -> None:
    assert names([{"deep": own.Deep(1)}]) == {("__main__", "Deep"), ("__main__", "Point")}
    assert names(own.Colour.RED) == {("__main__", "Colour")}
    assert names(own.Point) == {("__main__", "Point")}


def test_what_is_known_everywhere_is_not_brought(own: Any) -> None:
    known = (collections.deque([1]), {2}, dt.datetime.now(dt.UTC), enum.Enum, bytearray(b"x"))
    assert names(*known, own.key) == set()


def test_one_class_has_one_tracker(own: Any) -> None:
    one, other = (classes_brought(dump_arguments((own.Point(x),), {}, what="f"))[0] for x in (1, 2))
    assert one == other
