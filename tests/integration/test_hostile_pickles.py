"""Pickles that an agent gone bad could send. Each is read in one process with little memory."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest

PROTO = b"\x80\x05"
CANARY = "gossamer-canary"

# Reads each case, with 256 MiB above what it has when everything it needs is imported.
READER = """
import json, os, pickle, resource, sys, time
import numpy
from gossamer_mesh.errors import MeshError
from gossamer_mesh.payload import Trust, load_chunk, load_error, load_value

ran = []

class Tool:
    def __call__(self, *args): ran.append("call")
    def __setstate__(self, state): ran.append("setstate")
    def __setitem__(self, key, value): ran.append("setitem")
    def __init__(self, *args): ran.append("init")
    def append(self, item): ran.append("append")
    extend = add = append
    @property
    def level(self): return 0
    @level.setter
    def level(self, value): ran.append("property")

class Hooked:
    def __new__(cls, *args): ran.append("new")
    def __del__(self): ran.append("del")

def pwn(*args): ran.append("pwn")

trust = Trust(["__main__"])
load_value(pickle.dumps({"a": (1,)}, 5), (), trust, agent="a")
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 256 * 2**20,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {}
for name, text in json.load(sys.stdin).items():
    data = bytes.fromhex(text)
    start = time.process_time()
    try:
        value = load_value(data, (), trust, agent="bad")
        outcome = "value"
        del value
    except MeshError as error:
        outcome = type(error).__name__
    spent = time.process_time() - start
    for load in (load_chunk, lambda data, *_, agent: load_error(data, trust, agent=agent)):
        try:
            load(data, (), trust, agent="bad")
        except MeshError:
            pass
    found[name] = outcome, spent, ran[:]
    ran.clear()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"found": found, "grown_kib": grown}))
"""


def text(value):
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def name(module, qualname):
    return text(module) + text(qualname) + b"\x93"


def call(module, qualname, *args):
    return name(module, qualname) + b"(" + b"".join(args) + b"tR"


def int_of(value):
    return pickle.dumps(value, 2)[2:-1]


HUGE = int_of(10**10)
DTYPE_STATE = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
LYING_DTYPE = call("numpy", "dtype", text("O8"), b"\x89", b"\x88") + DTYPE_STATE


def shared_pairs(levels):
    return b"K\x01\x85\x94" + b"".join(b"h%c\x86\x94" % level for level in range(levels))


class Instruction:
    """Makes pickle write whatever it is told to, as a hostile agent's pickler would."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


GADGETS = {
    f"{module}.{qualname}": PROTO + call(module, qualname, *args) + b"."
    for module, qualname, *args in (
        ("builtins", "eval", text("1+1")),
        ("builtins", "exec", text("import os")),
        ("builtins", "__import__", text("os")),
        ("builtins", "getattr", text("a"), text("upper")),
        ("builtins", "setattr"),
        ("builtins", "compile"),
        ("builtins", "open", text("/etc/passwd")),
        ("builtins", "type", text("X"), b")", b"}"),
        ("builtins", "object"),
        ("builtins", "map"),
        ("builtins", "vars"),
        ("builtins", "print", text(CANARY)),
        ("os", "system", text("true")),
        ("posix", "system", text("true")),
        ("os", "environ.clear"),
        ("subprocess", "Popen", text("true")),
        ("subprocess", "check_output", text("true")),
        ("functools", "partial", name("builtins", "int")),
        ("functools", "reduce"),
        ("operator", "attrgetter", text("__class__")),
        ("operator", "methodcaller", text("upper")),
        ("operator", "mul"),
        ("types", "FunctionType"),
        ("types", "CodeType"),
        ("types", "SimpleNamespace"),
        ("ctypes", "CDLL", text("libc.so.6")),
        ("ctypes", "string_at", b"K\x00"),
        ("importlib", "import_module", text("os")),
        ("pickle", "loads", b"C\x01."),
        ("marshal", "loads", b"C\x01N"),
        ("shutil", "rmtree", text("/nowhere")),
        ("codecs", "encode", text("a"), text("rot13")),
        ("_codecs", "encode", text("a"), text("latin1")),
        ("copyreg", "_reconstructor"),
        ("copyreg", "add_extension"),
        ("socket", "socket"),
        ("sys", "exit", b"K\x01"),
        ("webbrowser", "open", text("x")),
        ("timeit", "timeit", text("1")),
        ("pdb", "run", text("1")),
        ("logging.config", "fileConfig"),
        ("numpy", "load", text("/x")),
        ("numpy", "fromfile", text("/etc/passwd")),
        ("numpy", "memmap", text("/etc/passwd")),
        ("numpy.core.multiarray", "fromfile", text("/etc/passwd")),
        ("numpy._core.multiarray", "array"),
        ("numpy.testing._private.utils", "runstring", text("1"), b"}"),
        ("numpy", "core.multiarray._reconstruct"),
        ("collections", "abc.sys.modules"),
        ("collections", "namedtuple", text("A"), text("b")),
        ("gossamer_agent.worker.pickling", "load_function", b"C\x01."),
        ("gossamer_mesh.payload", "load_value"),
        ("gossamer_mesh.errors", "annotations"),
        ("__main__", "pwn"),
        ("__main__", "os.system", text("true")),
        ("__main__", "pickle"),
        ("__main__", "Trust"),
        ("__main__", "Hooked"),
        ("__main__", "Tool", b"K\x01"),
        ("__main__", "Tool.append", b"K\x01"),
    )
}

OPCODES = {
    "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "protocol 2": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "a global by text": PROTO + b"cos\nsystem\n.",
    "inst": PROTO + b"(ios\nsystem\n.",
    "obj": PROTO + b"(" + name("__main__", "Tool") + b"o.",
    "newobj": PROTO + name("__main__", "Tool") + b")\x81.",
    "newobj with keywords": PROTO + name("__main__", "Tool") + b")}\x92.",
    "an extension code": PROTO + b"\x82\x01.",
    "a long extension code": PROTO + b"\x84\x01\x00\x00\x00.",
    "a persistent id": PROTO + b"K\x01Q.",
    "a persistent id by text": PROTO + b"P1\n.",
    "a huge memo index": PROTO + b"K\x01r" + struct.pack("<I", 2**31) + b".",
    "a huge memo index by text": PROTO + b"K\x01p4294967295\n.",
    "a missing memo index": PROTO + b"j" + struct.pack("<I", 2**31) + b".",
    "a state for a class": PROTO + name("collections", "Counter") + b"}" + text("x") + b"K\x01sb.",
    "slots for a class": PROTO + name("uuid", "UUID") + b"(N}" + text("x") + b"K\x01stb.",
    "two states": PROTO + call("__main__", "Tool") + b"}b}b.",
    "a called instance": PROTO + call("__main__", "Tool") + b")R.",
    "items for an instance": PROTO + call("__main__", "Tool") + b"(K\x01K\x02e.",
    "keys for an instance": PROTO + call("__main__", "Tool") + b"(K\x01K\x02u.",
    "members for an instance": PROTO + call("__main__", "Tool") + b"(K\x01\x90.",
    "slots for a property": PROTO
    + call("__main__", "Tool")
    + b"(N}"
    + text("level")
    + b"K\x01stb.",
    "a foreign class by the worker's way": PROTO
    + call("gossamer_agent.worker.pickling", "named", text("os"), text("system"))
    + b".",
    "an eval factory": PROTO + call("collections", "defaultdict", name("builtins", "eval")) + b".",
    "stack underflow": PROTO + b"R.",
    "no stop": PROTO + b"K\x01",
    "nothing": b"",
    "a dict of unhashables": PROTO + b"}]K\x01s.",
    "trailing bytes": pickle.dumps(1, 5) + b"K\x01.",
    "a set of itself": PROTO + name("builtins", "set") + b"]\x94\x85R\x94h\x00h\x01a.",
}

BOMBS = {
    **{
        f"{size} bytes by {opcode!r}": PROTO + opcode + struct.pack("<Q", size) + b"x."
        for opcode in (b"\x8e", b"\x8d", b"\x96")
        for size in (2**30, 2**40, 2**63, 2**64 - 1)
    },
    "long bytes": PROTO + b"B" + struct.pack("<I", 2**32 - 1) + b"x.",
    "a long number": PROTO + b"\x8b" + struct.pack("<I", 2**31 - 1) + b"x.",
    "a huge frame": PROTO + b"\x95" + struct.pack("<Q", 2**62) + b"K\x01.",
    "a list of a range": PROTO + call("builtins", "list", call("builtins", "range", HUGE)) + b".",
    "a set of a range": PROTO + call("builtins", "set", call("builtins", "range", HUGE)) + b".",
    "a deque of a range": PROTO
    + call("collections", "deque", call("builtins", "range", HUGE))
    + b".",
    "a counter of a range": PROTO
    + call("collections", "Counter", call("builtins", "range", HUGE))
    + b".",
    "bytes of a size": PROTO + call("builtins", "bytes", HUGE) + b".",
    "a bytearray of a size": PROTO + call("builtins", "bytearray", HUGE) + b".",
    "an array of a range": PROTO
    + call("array", "array", text("b"), call("builtins", "range", HUGE))
    + b".",
    "a large ndarray": PROTO + call("numpy", "ndarray", HUGE + b"\x85") + b".",
    "a large reconstruction": PROTO
    + call(
        "numpy._core.multiarray",
        "_reconstruct",
        name("numpy", "ndarray"),
        HUGE + b"\x85",
        b"C\x01b",
    )
    + b".",
    "a fraction of an exponent": PROTO + call("fractions", "Fraction", text("1e99999999")) + b".",
    "a decimal of a million digits": PROTO
    + call("decimal", "Decimal", b"X" + struct.pack("<I", 10**6) + b"9" * 10**6)
    + b".",
    "pairs of pairs as a key": PROTO + b"}" + shared_pairs(80) + b"K\x01s.",
    "pairs of pairs as a member": PROTO + b"\x8f(" + shared_pairs(80) + b"\x90.",
    "pairs of pairs in a frozenset": PROTO + b"(" + shared_pairs(80) + b"\x91.",
    "pairs of pairs in a called set": PROTO
    + name("builtins", "set")
    + b"]"
    + shared_pairs(80)
    + b"a\x85R.",
    "deep tuples as a key": PROTO + b"})" + b"\x85" * 50_000 + b"K\x01s.",
    "deep calls": PROTO
    + name("builtins", "set")
    + b"\x940"
    + b"h\x00" * 5000
    + b")"
    + b"R\x85" * 5000
    + b".",
    "deep items": PROTO
    + name("collections", "deque")
    + b"\x940"
    + b"h\x00)R" * 5000
    + b"a" * 4999
    + b".",
    **{
        f"a million empty {what}": PROTO + b"](" + made * (1_000_000 // len(made)) + b"e."
        for what, made in (
            *(("sets", b"\x8f"), ("dicts", b"}"), ("lists", b"]"), ("frozensets", b"(\x91")),
        )
    },
    **{
        f"a quarter of a million of {what}": PROTO
        + name("collections", what)
        + b"\x940]("
        + b"h\x00)R" * 240_000
        + b"e."
        for what in ("deque", "OrderedDict", "Counter")
    },
    "deep counters": PROTO
    + name("collections", "Counter")
    + b"\x940"
    + b"h\x00}K\x01" * 2000
    + b"K\x01"
    + b"s\x85R" * 2000
    + b".",
}

ARRAYS = {
    "objects from bytes": PROTO
    + call(
        "numpy._core.numeric",
        "_frombuffer",
        b"C\x08AAAAAAAA",
        LYING_DTYPE,
        b"K\x01\x85",
        text("C"),
    )
    + b".",
    "a scalar of a pointer": PROTO
    + call("numpy._core.multiarray", "scalar", LYING_DTYPE, b"C\x08AAAAAAAA")
    + b".",
    "more shape than data": PROTO
    + call(
        "numpy._core.numeric",
        "_frombuffer",
        b"C\x08AAAAAAAA",
        call("numpy", "dtype", text("i8")),
        b"K\x7f\x85",
        text("C"),
    )
    + b".",
    "a large void": PROTO
    + call(
        "numpy._core.multiarray",
        "scalar",
        call("numpy", "dtype", text("V999999999")),
        b"C\x01A",
    )
    + b".",
    "a dtype by a path": PROTO + call("numpy", "dtype", text("os.system")) + b".",
    "a dtype with a bad state": PROTO + call("numpy", "dtype", text("i8")) + b"K\x01b.",
    "a negative shape": PROTO
    + call(
        "numpy._core.numeric",
        "_frombuffer",
        b"C\x08AAAAAAAA",
        call("numpy", "dtype", text("i8")),
        int_of(-1) + b"\x85",
        text("C"),
    )
    + b".",
    "an array over an array": pickle.dumps(
        Instruction(np._core.numeric._frombuffer, (np.arange(4), np.dtype("i8"), (4,), "C")), 5
    ),
    "overlapping references": pickle.dumps(
        np.dtype({"names": ["a", "b"], "formats": ["O", "i8"], "offsets": [0, 8]}), 5
    ).replace(b"K\x08\x86", b"K\x00\x86"),
}

WHOLE = pickle.dumps(
    [{"a": (1, 2.5, None), "b": [b"x" * 300, "y" * 300]}, np.arange(50), ValueError("x"), 2**70], 5
)
TRUNCATED = {
    f"the first {size} bytes of {len(WHOLE)}": WHOLE[:size]
    for size in range(0, len(WHOLE), len(WHOLE) // 40)
}

CASES = {**GADGETS, **OPCODES, **BOMBS, **ARRAYS, **TRUNCATED}


@pytest.fixture(scope="module")
def report():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READER)],
        input=json.dumps({name: data.hex() for name, data in CASES.items()}),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert CANARY not in done.stdout
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_pickle_is_refused(report, case):
    outcome, _, _ = report["found"][case]
    assert outcome in {"PayloadError", "UntrustedResultError"}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_pickle_runs_no_code_of_the_caller(report, case):
    _, _, ran = report["found"][case]
    assert ran == []


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_pickle_is_read_in_a_moment(report, case):
    _, spent_s, _ = report["found"][case]
    assert spent_s < 0.1


@pytest.mark.parametrize("case", GADGETS)
def test_a_gadget_is_refused_by_name(report, case):
    outcome, _, _ = report["found"][case]
    if not case.startswith("__main__.Tool"):
        assert outcome == "UntrustedResultError"


def test_all_of_them_together_take_little_memory(report):
    assert report["grown_kib"] < 64 * 1024
