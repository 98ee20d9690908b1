"""What changes a function's digest, what does not, and what has none."""

from __future__ import annotations

import collections
import functools
import importlib.util
import itertools
import linecache
import sys
import textwrap
import threading

import numpy as np
import pytest

from gossamer_mesh.code.canonical import meaning
from gossamer_mesh.code.document import document
from gossamer_mesh.code.expression import NotSelfContained

_numbers = itertools.count()


@pytest.fixture
def made(tmp_path):
    """Write a module of the user's, import it, and return what it has."""
    names = []

    def make(source, name=""):
        name = name or f"own_{next(_numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        names.append(name)
        spec.loader.exec_module(module)
        return module

    yield make
    for name in names:
        sys.modules.pop(name, None)


def digest(fn, **given):
    found = meaning(fn, **given)
    assert found.digest is not None, found.reason
    assert len(found.digest) == 16
    return found.digest


BASE = """
    import math
    LIMIT = 3

    def helper(x):
        return x * LIMIT

    def f(x, y=2, *, z=(1, 2)):
        return helper(x) + y + math.pi
    """


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x * LIMIT", "return x + LIMIT"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("y=2", "y=3"),
        ("z=(1, 2)", "z=(1, 3)"),
        ("math.pi", "math.tau"),
        ("import math", "import cmath as math"),
        ("def f(x, y=2", "def f(y, x=2"),
    ],
)
def test_what_changes_the_meaning_changes_the_digest(made, old, new):
    assert old in BASE
    assert digest(made(BASE).f) != digest(made(BASE.replace(old, new)).f)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x * LIMIT", "# the rule\n\n        return x * LIMIT  # of three"),
        ("return x * LIMIT", "return (x\n            * LIMIT)"),
        ("import math", "import math\n\n\n    UNUSED = [1, 2]"),
        ("import math", "import math, os"),
        ("LIMIT = 3", "LIMIT = 1 + 2"),
        ("(1, 2)", "tuple([1, 2])"),
    ],
)
def test_what_does_not_change_the_meaning_does_not_change_the_digest(made, old, new):
    assert old in BASE
    assert digest(made(BASE).f) == digest(made(BASE.replace(old, new)).f)


def test_the_name_of_a_function_is_part_of_its_digest(made):
    source = "def f():\n    return 1\ndef g():\n    return 1\n"
    module = made(source)
    assert digest(module.f) != digest(module.g)


def test_closed_over_values_are_part_of_the_digest():
    def outer(k):
        return lambda x: x + k

    assert digest(outer(1)) == digest(outer(1))
    assert digest(outer(1)) != digest(outer(2))
    assert digest(outer({"a": 1, "b": [2]})) == digest(outer({"b": [2], "a": 1}))
    assert digest(outer({3, 1, 2})) != digest(outer({3, 1}))


def test_includes_and_image_are_part_of_the_digest(made):
    f = made(BASE).f
    one, two = b"1" * 16, b"2" * 16
    assert digest(f, includes=[one, two]) == digest(f, includes=[two, one])
    assert len({digest(f), digest(f, includes=[one]), digest(f, image="python:3.12")}) == 3


def test_arrays_are_known_by_their_type_shape_and_bytes():
    def over(array):
        def use():
            return array

        return use

    numbers = np.arange(6.0)
    assert digest(over(numbers)) == digest(over(numbers.copy()))
    others = [numbers.reshape(2, 3), numbers.astype("f4"), numbers + 1, numbers[1]]
    assert len({digest(over(value)) for value in [numbers, *others]}) == 5
    assert "array" in meaning(over(np.array([object()]))).reason


def test_mutual_recursion_has_an_end(made):
    source = """
        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n != 0 and even(n - 1)
        """
    one, other = made(source), made(source.replace("n != 0", "n > 0"))
    assert digest(one.even) == digest(made(source).even)
    assert digest(one.even) != digest(one.odd)
    assert digest(one.even) != digest(other.even)


def test_a_list_that_two_names_share_is_not_two_lists(made):
    source = """
        a = [1]
        b = a

        def f():
            a.append(2)
            return b
        """
    assert digest(made(source).f) != digest(made(source.replace("b = a", "b = [1]")).f)


def test_a_list_that_holds_itself_has_a_digest():
    def over(value):
        return lambda: value

    one, other = [1], [1]
    one.append(one)
    other.append(other)
    assert digest(over(one)) == digest(over(other))


def test_a_class_is_known_by_its_source_and_what_it_uses(made):
    source = """
        import dataclasses
        FACTOR = 2

        def scaled(x):
            return x * FACTOR

        @dataclasses.dataclass
        class Point:
            x: int = 0

            def twice(self):
                return scaled(self.x)

        def f(x):
            return Point(x).twice()
        """
    same = digest(made(source).f)
    assert digest(made(source.replace("class Point", "# a point\n        class Point")).f) == same
    changes = [("x: int = 0", "x: int = 1"), ("FACTOR = 2", "FACTOR = 3"), ("* F", "+ F")]
    changes.append(("@dataclasses.dataclass", "@dataclasses.dataclass(frozen=True)"))
    found = {digest(made(source.replace(old, new)).f) for old, new in changes}
    assert len(found | {same}) == 5


def test_a_constant_of_a_class_counts_as_it_is_now(made):
    module = made("class C:\n    LIMIT = 1\n\ndef f():\n    return C.LIMIT\n")
    before = digest(module.f)
    module.C.LIMIT = 2
    assert digest(module.f) != before


def test_a_file_that_was_edited_after_its_import_is_not_believed(made, tmp_path):
    module = made("def f():\n    return 1\n", "own_edited")
    before = digest(module.f)
    (tmp_path / "own_edited.py").write_text("def f():\n    return 2\n")
    linecache.checkcache()
    # What runs still returns 1: it is known by its bytecode now.
    stale = digest(module.f)
    spec = importlib.util.spec_from_file_location("own_edited", tmp_path / "own_edited.py")
    fresh = importlib.util.module_from_spec(spec)
    exec(compile((tmp_path / "own_edited.py").read_text(), spec.origin, "exec"), vars(fresh))  # noqa: S102 - pyc files go by whole seconds
    assert len({before, stale, digest(fresh.f)}) == 3


def test_code_without_source_is_known_by_its_bytecode():
    def run(text):
        space = {"__name__": "nowhere"}
        exec(text, space)  # noqa: S102 - the point of the test
        return space["f"]

    one = run("def f(x):\n    return {1, 2, 'a'} & {x}, lambda: x")
    same = run("\n\n\ndef f(x):\n    return {1, 2, 'a'} & {x}, lambda: x")
    other = run("def f(x):\n    return {1, 2, 'b'} & {x}, lambda: x")
    assert digest(one) == digest(same)
    assert digest(one) != digest(other)


def test_what_is_used_of_a_module_of_the_users_counts(made):
    made("A = 1\nB = 2\ndef g():\n    return A\n", "own_helpers")
    source = "import own_helpers\ndef f():\n    return own_helpers.g()\n"
    before = digest(made(source).f)
    sys.modules["own_helpers"].B = 3
    assert digest(made(source).f) == before
    sys.modules["own_helpers"].A = 3
    assert digest(made(source).f) != before
    whole = made("import own_helpers\ndef f():\n    return vars(own_helpers)\n").f
    assert (
        meaning(whole).reason
        == "uses the global 'own_helpers', the whole of your module own_helpers"
    )


def test_a_decorator_that_returns_its_function_does_not_matter_but_a_wrapper_does(made):
    source = """
        import functools

        def marked(fn):
            return fn

        def wrapped(fn):
            @functools.wraps(fn)
            def call(*args):
                return fn(*args)
            return call

        @marked
        def f(x):
            return x
        """
    bare = digest(made("def f(x):\n    return x\n").f)
    assert digest(made(source).f) == bare
    wrapped = source.replace("@marked", "@wrapped")
    assert digest(made(wrapped).f) != bare
    assert digest(made(wrapped).f) != digest(made(wrapped.replace("return x\n", "return -x\n")).f)


def test_methods_and_partials_are_known_by_what_they_hold(made):
    source = """
        class C:
            def __init__(self, a):
                self.a = a

            def m(self):
                return self.a
        """
    module = made(source)
    assert digest(module.C(1).m) == digest(module.C(1).m)
    assert digest(module.C(1).m) != digest(module.C(2).m)
    assert digest(functools.partial(pow, 2)) != digest(functools.partial(pow, 3))
    assert digest(functools.partial(pow, 2)) == digest(functools.partial(pow, 2))


LOCK = threading.Lock()


def waits():
    return LOCK


def helped():
    return waits()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (LOCK, "closes over 'value', a _thread.lock"),
        ([1, {"a": LOCK}], "closes over 'value'[1]['a'], a _thread.lock"),
        (iter([]), "closes over 'value', a list_iterator"),
        (object(), "closes over 'value', an object"),
        (collections.deque([LOCK]), "closes over 'value'[0], a _thread.lock"),
    ],
)
def test_what_has_no_canonical_form_is_named_with_its_place(value, reason):
    def use():
        return value

    found = meaning(use)
    assert (found.digest, found.reason) == (None, reason)


def test_the_place_may_be_a_global_of_a_helper():
    assert meaning(waits).reason == "uses the global 'LOCK', a _thread.lock"
    assert meaning(helped).reason == "its helper 'waits' uses the global 'LOCK', a _thread.lock"


def test_what_is_nested_too_deeply_is_unstable():
    deep = []
    for _ in range(10_000):
        deep = [deep]

    def use():
        return deep

    assert meaning(use) == (None, "what it refers to is nested too deeply")


def test_named_tuples_are_known_by_their_fields(made):
    source = """
        import collections
        import typing

        class Size(typing.NamedTuple):
            x: int
            y: int = 2

        Point = collections.namedtuple("Point", "x y", defaults=[1])
        HERE = Point(1, 2)

        def f():
            return Size(1), Point(1), HERE
        """
    same = digest(made(source).f)
    assert digest(made(source).f) == same
    changes = [("y: int = 2", "y: int = 3"), ("[1]", "[2]"), ("x y", "x z"), ("(1, 2)", "(1, 3)")]
    found = {digest(made(source.replace(old, new)).f) for old, new in changes}
    assert len(found | {same}) == 5


class Shy:
    @property
    def __class__(self):
        raise ValueError


def test_what_cannot_be_looked_at_is_unstable_and_not_self_contained():
    value = Shy()

    def use():
        return value

    assert meaning(use) == (None, "it refers to what cannot be looked at (ValueError)")
    with pytest.raises(NotSelfContained, match="cannot be looked at \\(ValueError\\)"):
        document(use)
