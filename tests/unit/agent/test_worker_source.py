"""The source form, made by a client and executed by a worker, is the function that it was."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import inspect
import linecache
import math
import re
import threading
import traceback
from pathlib import PurePosixPath

import pytest

from gossamer_agent.worker import source
from gossamer_mesh.code.document import document
from gossamer_mesh.code.expression import NotSelfContained

LIMIT = 3
TABLE = {"a": [1, 2], ("b", 1): {3}, None: float("inf")}
SHARED = TABLE["a"]
WORD = re.compile("[a-z]+", re.IGNORECASE)
WHERE = PurePosixPath("/data")
LOCK = threading.Lock()


@pytest.fixture(autouse=True)
def own_lines():
    """The worker tells tracebacks of lines; here that is this process."""
    before = dict(linecache.cache)
    yield
    linecache.cache.clear()
    linecache.cache.update(before)


def there(fn):
    """Return the function as a worker has it."""
    data = document(fn).text
    before = dict(linecache.cache)
    made = source.load_source(data)
    linecache.cache.clear()
    linecache.cache.update(before)
    return made


class Kind(enum.Enum):
    ROUND = 1
    FLAT = "f"


@dataclasses.dataclass
class Shape:
    kind: Kind = Kind.FLAT
    sizes: list[float] = dataclasses.field(default_factory=list)

    def area(self) -> float:
        return scaled(math.prod(self.sizes))


class Box(Shape):
    def area(self) -> float:
        return super().area() * LIMIT


def scaled(x):
    return x * LIMIT


def area(*sizes):
    return Box(Kind.ROUND, [*sizes]).area()


def is_even(n):
    return n == 0 or is_odd(n - 1)


def is_odd(n):
    return n != 0 and is_even(n - 1)


def grown():
    SHARED.append(3)
    return TABLE["a"], WORD.findall("a1B"), str(WHERE)


def parts(a, b=LIMIT, /, *rest: Kind, c=TABLE, **more: int) -> tuple:
    """Say what came.

    In two lines."""
    return a, b, rest, c is TABLE, more


def counted(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        wrapper.calls += 1
        return fn(*args)

    wrapper.calls = 0
    return wrapper


@counted
def decorated(x):
    """Be decorated."""
    return scaled(x)


def adder(by, steps):
    def add(x):
        return add(x - by) if x > by else x + sum(steps)

    return add


def fails(x):
    # A comment, so that lines count.
    return 1 / x


async def slow(x):
    return x


def yields(n):
    yield from range(n)


def test_helpers_constants_and_classes_come_along():
    assert there(area)(2.0, 5.0) == area(2.0, 5.0) == 90.0


def test_mutual_recursion_comes_along():
    assert [there(is_even)(n) for n in (4, 7)] == [True, False]


def test_what_two_names_share_stays_shared():
    assert there(grown)() == ([1, 2, 3], ["a", "B"], "/data")
    assert TABLE["a"] == [1, 2]


def test_parameters_defaults_names_and_documentation_are_kept():
    made = there(parts)
    assert made(1) == (1, 3, (), True, {})
    assert made(1, 2, 3, c=4, d=5) == (1, 2, (3,), False, {"d": 5})
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(made, name) == getattr(parts, name)
    assert list(inspect.signature(made).parameters) == list(inspect.signature(parts).parameters)
    assert made.__annotations__ == {"rest": "Kind", "more": "int", "return": "tuple"}


def test_a_wrapper_keeps_what_it_wraps():
    made = there(decorated)
    assert (made(2), made(3), made.calls) == (6, 9, 2)
    assert (made.__name__, made.__doc__) == ("decorated", "Be decorated.")
    assert made.__wrapped__(1) == 3


def test_closures_and_lambdas_keep_their_values():
    assert there(adder(2, [1, 2]))(5) == adder(2, [1, 2])(5) == 4
    factor = 3
    assert there(lambda x, y=2: x * y * factor)(5) == 30


def test_partials_and_what_can_be_imported_are_expressions():
    assert there(functools.partial(scaled, x=2))() == 6
    assert there(math.hypot) is math.hypot
    assert there(len) is len
    assert there(functools.reduce) is functools.reduce


def test_coroutines_and_generators_are_functions_too():
    assert inspect.iscoroutinefunction(there(slow))
    assert list(there(yields)(3)) == [0, 1, 2]


def test_a_traceback_shows_the_lines_of_the_file():
    before = dict(linecache.cache)
    linecache.cache.pop(__file__, None)
    made = source.load_source(document(fails).text)
    with contextlib.suppress(ZeroDivisionError):
        made(0)
    try:
        made(0)
    except ZeroDivisionError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
    assert (frame.filename, frame.name, frame.line) == (__file__, "fails", "return 1 / x")
    assert frame.lineno == fails.__code__.co_firstlineno + 2
    linecache.cache.update(before)


def uses_lock():
    return LOCK


def uses_helper():
    return uses_lock()


def over(value):
    return lambda: value


def pair():
    count = 0

    def up():
        nonlocal count
        count += 1
        return down

    def down():
        nonlocal count
        count -= 1
        return up

    return up


LOOP = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (uses_lock, "uses the global 'LOCK', a _thread.lock"),
        (uses_helper, "'uses_lock' uses the global 'LOCK', a _thread.lock"),
        (over(LOCK), "closes over 'value', a _thread.lock"),
        (over([{"a": LOCK}]), "closes over 'value'[0]['a'], a _thread.lock"),
        (over(LOOP), "closes over 'value'[0], a list that holds itself"),
        (pair(), "'pair.<locals>.down' shares a variable with another function"),
        (Shape().area, "it is a method"),
        (Shape.area, "it is the method Shape.area"),
        (eval("lambda: 1"), "it is a function whose source is not to be had"),  # noqa: S307 - the point of it
    ],
)
def test_what_is_not_self_contained_says_why(fn, reason):
    with pytest.raises(NotSelfContained) as refused:
        document(fn)
    assert str(refused.value) == reason
