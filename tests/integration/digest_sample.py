"""Functions of all kinds, whose digests must be the same wherever they are computed."""

import collections
import contextlib
import dataclasses
import datetime as dt
import enum
import functools
import math
import re
import sys
from pathlib import PurePosixPath

LIMITS = {"low": 1, "high": 10, ("a", 2): {3, 4, 5}, None: frozenset({"x", "y", "z"})}
WORDS = {"alpha", "beta", "gamma", "delta", "epsilon"}
PATTERN = re.compile(r"\d+", re.IGNORECASE)
WHERE = PurePosixPath("/data")
DAY = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Flags(enum.IntFlag):
    A = enum.auto()
    B = enum.auto()


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)

    def norm(self) -> float:
        return math.hypot(self.x, self.y)

    @property
    def doubled(self) -> "Point":
        return scale(self, 2)

    @classmethod
    def origin(cls) -> "Point":
        return cls(0.0)


class Named(Point):
    def norm(self) -> float:
        return super().norm() + 1


def scale(point: Point, by: float) -> Point:
    return Point(point.x * by, point.y * by)


def plain(a, b=2, /, c=3, *rest, d=LIMITS, **more):
    """Say something over
    two lines."""
    total = a + b * c - len(rest)
    for key, value in more.items():
        if value is None or not key:
            continue
        total += {"x": 1, **more}.get(key, 0)
    try:
        with contextlib.nullcontext("a") as file, contextlib.nullcontext():
            assert file is not None, "no file"
    except (OSError, ValueError) as error:
        raise RuntimeError(f"{error!r:>{c}} {total=:.2f} {'nested ' + str(a)}") from error
    finally:
        total = -total
    return (
        [x for x in range(10) if x in WORDS if x],
        (lambda: total),
        LIMITS["low"],
        1e-3,
        1j,
        b"\xff",
    )


def matched(value):
    match value:
        case {"kind": "a", **rest}:
            return rest
        case [1, 2, *others] if others:
            return others
        case Point(x=x) | str(x):
            return x
        case None | -1:
            return PATTERN, WHERE, DAY
    return (yield from ()) if value else None


async def slow(items):
    async with items as inside:
        return [item async for item in inside if await item]


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def geometry():
    return Named(1).norm(), Point.origin().doubled, Colour.RED, Flags.A | Flags.B


def counted(words):
    return collections.Counter(words), WORDS


def outer(by, table):
    def inner(x):
        return inner if x is None else x * by + table["π"]

    return inner


def logged(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args)

    wrapper.calls = 0
    return wrapper


@logged
def decorated(x):
    return even(x)


FUNCTIONS = {
    "plain": plain,
    "matched": matched,
    "slow": slow,
    "even": even,
    "odd": odd,
    "geometry": geometry,
    "counted": counted,
    "closure": outer(2, {"π": 3.14, "e": float("nan")}),
    "decorated": decorated,
    "lambda": lambda x, *, y=(1, "two", 3.0, None, True): (x, y),
    "partial": functools.partial(scale, by=math.pi),
    "method": Point(1.0, 2.0, ["t"]).norm,
    "static": Point.norm,
    "builtin": math.hypot,
}


if __name__ == "__main__":
    from gossamer_mesh.code.canonical import meaning

    for name, fn in FUNCTIONS.items():
        found = meaning(fn)
        sys.stdout.write(f"{name} {found.digest.hex() if found.digest else found.reason}\n")
