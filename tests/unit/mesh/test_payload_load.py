from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import json
import pathlib
import pickle
import subprocess
import sys
import threading
import time
import types
import uuid
import zoneinfo

import numpy as np
import pytest

from gossamer_agent.worker import pickling
from gossamer_mesh.errors import PayloadError, TaskLostError, UntrustedResultError
from gossamer_mesh.payload import Trust, load_chunk, load_value
from gossamer_mesh.payload.volume import VOLUMINOUS_BYTES

# Run twice: once as the client's module, once as what a worker has of it by value.
MODULE = """
import collections, dataclasses, enum

@dataclasses.dataclass
class Point:
    x: int
    y: object = None

@dataclasses.dataclass(frozen=True)
class Frozen:
    x: object
    def __setstate__(self, state):
        raise AssertionError("own classes are rebuilt by state only")

@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int
    y: object = None

class Guarded:
    def __init__(self, limit):
        raise AssertionError("own classes are rebuilt without __init__")
    def __setattr__(self, name, value):
        raise AssertionError("own classes are rebuilt without __setattr__")
    @property
    def limit(self):
        return self.__dict__["limit"]
    @limit.setter
    def limit(self, value):
        raise AssertionError("no property runs")

class Reducing:
    def __reduce__(self):
        return print, ("not asked",)

class Careful:
    def __getstate__(self):
        return {"kept": 1}

class Pair(collections.namedtuple("Pair", "a b")):
    pass

class Triple(tuple):
    pass

class Bag(dict):
    def __setitem__(self, key, value):
        raise AssertionError("no __setitem__ runs")

class Row(list):
    def append(self, item):
        raise AssertionError("no append runs")
    extend = append

class Tags(set):
    pass

class Fixed(frozenset):
    pass

class Metres(int):
    def __int__(self):
        raise AssertionError("no __int__ runs")

class Turn(complex):
    pass

class Colour(enum.Enum):
    RED = 1
    MIXED = [1, 2]

class Mode(enum.Flag):
    READ = 1
    WRITE = 2

class Broken(Exception):
    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")
        self.code = code

class Temporary:
    def __del__(self):
        pass

class Outer:
    class Inner:
        pass
"""
HERE = "payload_stand_in"


def defined():
    module = types.ModuleType(HERE)
    sys.modules[HERE] = module
    code = compile(MODULE, HERE, "exec", dont_inherit=True)
    types.FunctionType(code, vars(module))()
    return module


@pytest.fixture
def there():
    """The worker's own copies of the client's classes, as cloudpickle would have made them."""
    try:
        copies = defined()
        defined()
        yield copies
    finally:
        del sys.modules[HERE]


@pytest.fixture
def here(there):
    return sys.modules[HERE]


def back(value, trust=None):
    data, buffers = pickling.dump_value(value)
    return load_value(data, buffers, trust or Trust([HERE]), agent="pi-3")


SHARED = (1, (2, 3))
RECORD = np.dtype([("id", "<i4"), ("name", "S3"), ("at", "<f8", (2,))])
PLAIN = [
    *(None, True, 0, -1, 2**70, 1.5, "", "é" * 300, b"x" * 300, bytearray(b"x"), complex(1, 2)),
    *([1, {2: (3, [4])}], {"a": {1, 2}}, frozenset({1}), (), range(1, 9, 2), slice(1, None), ...),
    *(int, ValueError, NotImplemented),
]
VALUES = [
    dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC),
    dt.datetime(2024, 2, 29, tzinfo=zoneinfo.ZoneInfo("UTC")),
    dt.date(2024, 2, 29),
    dt.time(1, 2, 3),
    dt.timedelta(days=1, microseconds=5),
    dt.timezone(dt.timedelta(hours=1), "CET"),
    decimal.Decimal("1.50"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
    pathlib.PurePosixPath("/data/scan 42"),
    pathlib.Path("relative"),
    ipaddress.ip_address("10.0.0.1"),
    ipaddress.ip_network("2001:db8::/32"),
    array.array("d", [1.0, 2.0]),
    collections.OrderedDict(b=1, a=[2]),
    collections.Counter("aab"),
    collections.defaultdict(list, a=[1]),
    collections.deque([1, 2], maxlen=3),
    collections.deque([1]),
    pathlib.Path("/").stat(),
    time.gmtime(0),
    {dt.date(2024, 1, 1): {uuid.UUID(int=1)}},
    frozenset({(dt.date(2024, 1, 1), 1)}),
]
ARRAYS = [
    np.arange(5),
    np.arange(1000.0),
    np.arange(6, dtype=">i2").reshape(2, 3).T,
    np.arange(10)[::3],
    np.zeros((0, 3)),
    np.array(7),
    np.array(["a", "bcd"]),
    np.array([b"x"]),
    np.array([True, False]),
    np.array(["2020-01-01", "NaT"], "M8[s]"),
    np.array([1 + 2j]),
    np.array([None, [1], "a"], object),
    np.asfortranarray(np.array([[1, "a"], [2, "b"]], object)),
    np.zeros(3, RECORD),
    np.array([dt.date(2024, 1, 1), uuid.UUID(int=2)], object),
]
SCALARS = [
    np.float64(1.5),
    np.int8(-1),
    np.bool_(True),
    np.datetime64("2020-01-01", "ms"),
    np.timedelta64(3, "h"),
    np.str_("a"),
    np.zeros(1, RECORD)[0],
    np.dtype("f8"),
    RECORD,
    np.float32,
]


@pytest.mark.parametrize("value", PLAIN + VALUES + SCALARS, ids=repr)
def test_a_value_comes_back_as_it_was(value):
    got = back(value, Trust())
    assert type(got) is type(value)
    assert got == value


@pytest.mark.parametrize("value", ARRAYS, ids=repr)
def test_an_array_comes_back_as_it_was(value):
    got = back(value, Trust())
    assert got.dtype == value.dtype
    assert got.shape == value.shape
    assert ((got == value) | (got != got)).all()  # noqa: PLR0124  NaT is not equal to itself


def test_an_array_comes_back_writable():
    for size in (3, 3000):
        got = back(np.zeros(size))
        got[0] = 1.0
        assert got[0] == 1.0


def test_numpy_1_named_its_modules_otherwise_and_is_read_too():
    data, buffers = pickling.dump_value(np.array([None, 1], object))
    old = data.replace(b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray")
    assert old != data
    frame = int.from_bytes(old[3:11], "little") - 1
    old = old[:3] + frame.to_bytes(8, "little") + old[11:]
    assert load_value(old, buffers, Trust(), agent="a").tolist() == [None, 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.Point(1, m.Point(2)),
        lambda m: m.Frozen(1),
        lambda m: m.Slotted(1, [m.Slotted(2)]),
        lambda m: m.Pair(1, 2),
        lambda m: m.Triple([1, 2]),
        lambda m: m.Tags({1, 2}),
        lambda m: m.Fixed({1, 2}),
        lambda m: m.Metres(5),
        lambda m: m.Turn(1, 2),
        lambda m: m.Colour.RED,
        lambda m: m.Colour.MIXED,
        lambda m: m.Mode.READ,
        lambda m: m.Mode.READ | m.Mode.WRITE,
        lambda m: {m.Frozen(1): "a", (m.Slotted(2), 3): "b"},
        lambda m: {m.Frozen(1), m.Frozen(2)},
        lambda m: frozenset({m.Frozen((m.Frozen(1), m.Frozen(2)))}),
        lambda m: m.Point,
        lambda m: m.Outer.Inner,
        lambda m: np.array([m.Point(1)], object),
    ],
)
def test_own_classes_come_back_as_the_callers_own(make, there, here):
    got, expected = back(make(there)), make(here)
    assert type(got) is type(expected)
    assert np.all(got == expected)


def test_own_containers_come_back_with_what_they_hold(there, here):
    bag = there.Bag()
    dict.update(bag, {"a": there.Point(1)})
    row = there.Row([there.Point(2)])
    row.note = "n"
    got_bag, got_row = back((bag, row))
    assert type(got_bag) is here.Bag
    assert got_bag == {"a": here.Point(1)}
    assert type(got_row) is here.Row
    assert got_row == [here.Point(2)]
    assert got_row.note == "n"


def test_no_code_of_an_own_class_runs(there, here):
    guarded = object.__new__(there.Guarded)
    guarded.__dict__["limit"] = 5
    got = back(guarded)
    assert type(got) is here.Guarded
    assert got.limit == 5
    assert type(back(there.Reducing())) is here.Reducing
    assert vars(back(there.Careful())) == {"kept": 1}


def test_an_own_exception_comes_back_without_its_init(there, here):
    got = back(there.Broken(7, "no lamp"))
    assert type(got) is here.Broken
    assert (str(got), got.code) == ("7: no lamp", 7)


def test_cycles_come_back_as_cycles(there, here):
    parent, child = there.Point(1), there.Point(2)
    parent.y, child.y = (child,), [parent]
    got = back(parent)
    assert got.y[0].y[0] is got


def test_a_long_chain_of_own_objects_comes_back(there):
    head = None
    for number in range(150):
        head = there.Point(number, head)
    length, got = 0, back(head)
    while got is not None:
        length, got = length + 1, got.y
    assert length == 150


def test_what_is_shared_stays_shared(there):
    point, day = there.Point(1), dt.date(2024, 1, 1)
    a, b, c, d = back([point, point, day, day])
    assert a is b
    assert c is d


def test_a_class_with_a_finalizer_is_not_rebuilt(there):
    with pytest.raises(UntrustedResultError, match="__del__"):
        back(there.Temporary())


def test_a_class_made_inside_a_function_is_refused_with_the_way_out(there):
    local = type("Local", (), {"__module__": HERE, "__qualname__": "f.<locals>.Local"})
    with pytest.raises(UntrustedResultError, match="not inside a function"):
        back(local())


def test_a_member_that_the_callers_enum_lacks_is_refused(there, here):
    here.Colour = enum.Enum("Colour", {"BLUE": 9}, module=HERE)
    with pytest.raises(PayloadError, match="has no member"):
        back(there.Colour.RED)


def test_a_foreign_type_is_refused_by_name_with_the_agent_and_the_way_out(there):
    with pytest.raises(UntrustedResultError) as caught:
        back(there.Point(1), Trust())
    message = str(caught.value)
    assert f"{HERE}.Point" in message
    assert "'pi-3'" in message
    assert f'mesh.trust("{HERE}")' in message
    assert caught.value.fields == {"kind": f"{HERE}.Point", "agent": "pi-3"}


def test_after_trust_the_same_bytes_are_read(here):
    data, buffers = pickling.dump_value([here.Point(1), here.Tags({1}), here.Colour.RED])
    trust = Trust()
    with pytest.raises(UntrustedResultError):
        load_value(data, buffers, trust, agent="a")
    trust.add(HERE)
    assert load_value(data, buffers, trust, agent="a")[0] == here.Point(1)


def test_a_trusted_class_is_rebuilt_by_its_own_rules():
    class Counted:
        def __init__(self, start):
            self.start = start

        def __reduce__(self):
            return Counted, (self.start + 1,), None, iter([5]), iter([("k", 6)])

        def __setitem__(self, key, value):
            self.__dict__[key] = value

        def extend(self, items):
            self.items = items

    Counted.__qualname__ = "Counted"
    module = sys.modules[__name__]
    module.Counted = Counted
    try:
        trust = Trust()
        trust.add(__name__)
        got = back(Counted(1), trust)
    finally:
        del module.Counted
    assert vars(got) == {"start": 2, "items": [5], "k": 6}


def test_a_trusted_package_does_not_vouch_for_what_it_imports(here):
    here.Popen = subprocess.Popen
    data = pickle.dumps(here.Point, 5).replace(b"\x05Point", b"\x05Popen")
    trust = Trust()
    trust.add(HERE)
    with pytest.raises(UntrustedResultError, match="subprocess"):
        load_value(data, (), trust, agent="a")


def test_trust_wants_package_names():
    with pytest.raises(PayloadError, match="name a package"):
        Trust().add("my-package==1")


def test_the_standard_library_is_nobodys_own():
    data = pickle.dumps(subprocess.Popen, 5)
    with pytest.raises(UntrustedResultError):
        load_value(data, (), Trust(["subprocess"]), agent="a")


def test_a_chunk_gives_values_and_errors(there, here):
    errors = [(1, b"an error")]
    data, buffers = pickling.dump_chunk_results([1, None, there.Point(3)], errors)
    values, failed = load_chunk(data, buffers, Trust([HERE]), agent="a")
    assert values == [1, None, here.Point(3)]
    assert failed == errors


def test_one_unpicklable_value_of_a_chunk_fails_alone():
    data, buffers = pickling.dump_chunk_results([1, threading.Lock(), 3], [])
    values, failed = load_chunk(data, buffers, Trust(), agent="a")
    assert values == [1, None, 3]
    assert [index for index, _ in failed] == [1]


@pytest.mark.parametrize(
    "chunk", [1, ([1], [(1, b"")]), ([1], [(0, "")]), ([1], [(-1, b"")]), ([1],), ((), [])]
)
def test_what_is_no_chunk_is_refused(chunk):
    with pytest.raises(PayloadError, match="not values and errors"):
        load_chunk(pickle.dumps(chunk, 5), (), Trust(), agent="a")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (threading.Lock(), "result is of type _thread.lock"),
        ({"a": [1, threading.Lock()]}, "result['a'][1] is of type _thread.lock"),
        ((n for n in ()), "result is of type generator"),
        (types.SimpleNamespace(handle=threading.Lock()), "result.handle is of type _thread.lock"),
    ],
)
def test_an_unpicklable_result_is_named_by_path_and_type(value, place):
    with pytest.raises(pickling.PicklingFailure) as caught:
        pickling.dump_value(value, "lab.expose")
    assert str(caught.value).startswith("the result of lab.expose cannot be pickled: ")
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("a", 1),
        FileNotFoundError(2, "No such file", "x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        json.JSONDecodeError("bad", "doc", 1),
        subprocess.CalledProcessError(3, ["ls"], output=b"o"),
        ImportError("no", name="n", path="p"),
        TaskLostError("gone", task=1),
        ExceptionGroup("two", [ValueError(1), KeyError("k")]),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_an_exception_comes_back_with_its_attributes(exc):
    exc.add_note("seen on Tuesday")
    got = back(exc, Trust())
    assert type(got) is type(exc)
    assert repr(got) == repr(exc)
    # These two pickle themselves by their arguments alone.
    if not isinstance(exc, json.JSONDecodeError | TaskLostError):
        assert vars(got) == vars(exc)
    assert getattr(got, "name", None) == getattr(exc, "name", None)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda n: ((n,), (n, n), (n, n, n), (n, n, n, n)), id="of every length"),
        pytest.param(lambda n: (SHARED, (SHARED, n)), id="shared"),
        pytest.param(lambda n: frozenset({(n, SHARED)}), id="in frozensets"),
        pytest.param(lambda n: (dt.date(2024, 1, 1), n), id="with dates"),
        pytest.param(lambda n: ("long" * 100, b"x" * 300, 10**300, n), id="with long values"),
    ],
)
def test_many_tuples_as_keys_come_back(key):
    value = {key(n): [n, (), {n}] for n in range(2000)}
    assert back(value, Trust()) == value


def test_tuples_nested_as_deep_as_they_may_be_hashed_come_back():
    data = b"\x80\x05})" + b"\x85" * 4990 + b"N\x94" * 13 + b"h\x00" * 13 + b"0" * 26 + b"K\x01s."
    assert len(load_value(data, (), Trust(), agent="a")) == 1


class Sent:
    """Pickled as a call of whatever it is told."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("Point", [1], "a state is a dict of names"),
        ("Point", {1: 2}, "a state is a dict of names"),
        ("Slotted", {"x": 1}, "has no __dict__"),
        ("Slotted", (None, {"z": 1}), "has no slot"),
        ("Broken", [1], "a state is a dict of names"),
        ("Broken", {1: 2}, "named by a string"),
    ],
)
def test_a_state_of_another_shape_is_refused(name, state, said, here):
    sent = Sent(pickling.instance, (getattr(here, name), ()), state)
    with pytest.raises(PayloadError, match=said):
        back(sent)


def test_an_own_class_of_other_content_is_refused_or_empty(here):
    with pytest.raises(PayloadError, match="needs an int"):
        back(Sent(pickling.instance, (here.Metres, ("9" * 10_000,))))
    with pytest.raises(PayloadError, match="cannot be rebuilt by state"):
        back(Sent(pickling.instance, (here.Turn, ([],))))
    assert vars(back(Sent(pickling.instance, (here.Outer.Inner, (1,))))) == {}


def test_notes_that_are_no_strings_and_dunders_are_left_out(there):
    exc = ValueError("x")
    exc.__dict__.update({"__notes__": [1], "__class__": 5, "kept": 1})
    assert vars(back(exc)) == {"kept": 1}


def test_a_missing_numpy_is_named_with_the_way_out():
    script = """
import pickle, sys
sys.modules["numpy"] = None
from gossamer_mesh.payload import Trust, load_value
data = bytes.fromhex(sys.argv[1])
load_value(data, (), Trust(), agent="a")
"""
    data = pickle.dumps(np.float64(1), 5).hex()
    done = subprocess.run(
        [sys.executable, "-c", script, data], capture_output=True, text=True, check=False
    )
    assert "numpy is not installed here: install it" in done.stderr


@pytest.mark.parametrize(
    "parts",
    [
        (bytearray, ("a", "b")),
        (slice, (1, 2), {"x": 1}),
        (complex, ([],)),
        (collections.deque, ("ab",)),
        (collections.deque, ([], "x")),
        (collections.Counter, ([1],)),
        (collections.OrderedDict, ([1],)),
        (collections.defaultdict, (5,)),
        (fractions.Fraction, ("1e5",)),
        (fractions.Fraction, (1 << 40_000, 3)),
        (uuid.UUID, ("x",)),
        (time.struct_time, ([1],)),
        (array._array_reconstructor, (1,)),
        (TaskLostError("x").__reduce__()[0], (int, "x", {})),
        (set, ([1],), None, iter([5])),
        (np._core.multiarray.scalar, (5, b"x")),
        (np._core.numeric._frombuffer, (b"x", 5, (1,), "C")),
        (np._core.numeric._frombuffer, (b"x", np.dtype("u1"), "x", "C")),
        (np.dtype, ("u1",), (3, "?", None, None, None, -1, -1, 0)),
        (np.dtype, ("V8",), (3, "|", None, "ab", {}, 8, 1, 0)),
        (np.dtype, ("M8",), (4, "<", None, None, None, -1, -1, 0, ({}, (b"zz", 1, 1, 1)))),
    ],
    ids=lambda parts: parts[0].__name__,
)
def test_a_listed_type_of_other_arguments_is_refused(parts):
    with pytest.raises(PayloadError):
        back(Sent(*parts), Trust())


def test_a_buffer_of_one_number_makes_an_array_of_one_dimension():
    made = back(Sent(np._core.numeric._frombuffer, (b"ab", np.dtype("u1"), 2, "C")), Trust())
    assert made.tolist() == [97, 98]


LARGE = {
    "rows": [{"a": i, "b": [i], "c": {i}} for i in range(10_000)],
    "pairs": [(i, i + 1) for i in range(50_000)],
    "lists of one": [[i] for i in range(50_000)],
    "sets of one": [{i} for i in range(40_000)],
    "empty dicts": [{} for _ in range(150_000)],
    "brackets": ["}" * 90 + str(i) for i in range(10_000)],
    "ordered": [collections.OrderedDict(a=i, b=i, c=i) for i in range(15_000)],
}


@pytest.mark.parametrize("what", LARGE)
def test_what_people_return_a_lot_of_is_not_taken_for_a_bomb(what):
    data, buffers = pickling.dump_value(LARGE[what])
    assert len(data) > VOLUMINOUS_BYTES
    assert load_value(data, buffers, Trust(), agent="a") == LARGE[what]


def test_empty_things_by_the_million_are_refused_with_what_they_would_take():
    data = b"\x80\x05](" + b"\x8f" * 1_000_000 + b"e."
    with pytest.raises(PayloadError, match="1000006 bytes that would take 205 MiB"):
        load_value(data, (), Trust(), agent="a")
    # A string does not become a bomb by what is written in it.
    data = pickle.dumps(["\x8f]}" * 30] + ["]}" * 45 + str(i) for i in range(12_000)], 5)
    assert len(load_value(data, (), Trust(), agent="a")) == 12_001
