from __future__ import annotations

import functools
import pickle
import re
import subprocess
import sys
import threading

import cloudpickle
import numpy as np
import pytest

from gossamer_agent.worker import pickling
from gossamer_mesh.errors import PayloadError
from gossamer_mesh.payload import dump_arguments, dump_chunk, dump_function

LOCK = threading.Lock()


class Camera:
    def __init__(self):
        self.state = {"serial": 7, "lock": threading.Lock()}


class Slotted:
    __slots__ = ("handle",)

    def __init__(self):
        self.handle = threading.Lock()


def uses_the_lock(x):
    with LOCK:
        return x


def arrived(payload):
    return pickling.load_arguments(payload.data, payload.buffers)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1, "a", 2.5, b"x", True, None), {}),
        ((1,), {"flag": True}),
        (([1, {"a": (2,)}],), {"options": {"deep": [1]}}),
    ],
)
def test_arguments_arrive_as_they_were(args, kwargs):
    assert arrived(dump_arguments(args, kwargs, what="f")) == (args, kwargs)


def test_plain_calls_do_not_import_cloudpickle():
    script = (
        "import sys; from gossamer_mesh.payload import dump_arguments, dump_chunk\n"
        "dump_arguments((1, 'a'), {'b': 2.5}, what='f'); dump_chunk([(1,), ('a',)], what='f')\n"
        "sys.exit('cloudpickle' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_large_array_travels_beside_the_pickle():
    array = np.arange(10_000.0)
    payload = dump_arguments((array,), {}, what="f")
    assert len(payload.data) < 1000
    assert [len(buffer) for buffer in payload.buffers] == [array.nbytes]
    ((got,), _) = arrived(payload)
    assert (got == array).all()


def test_a_small_array_stays_in_the_pickle():
    assert dump_arguments((np.arange(3),), {}, what="f").buffers == ()


def test_an_array_argument_can_be_written_to_by_the_function():
    ((got,), _) = arrived(dump_arguments((np.zeros(1000),), {}, what="f"))
    got[0] = 1.0
    assert got[0] == 1.0


def test_a_read_only_array_stays_read_only():
    array = np.zeros(1000)
    array.flags.writeable = False
    ((got,), _) = arrived(dump_arguments((array,), {}, what="f"))
    assert not got.flags.writeable


def test_the_users_own_classes_travel_by_value():
    payload = dump_arguments((Slotted,), {}, what="f")
    assert b"__slots__" in payload.data


def test_modules_are_sent_by_value_only_while_something_is_pickled():
    dump_arguments((Slotted,), {}, what="f")
    assert not cloudpickle.list_registry_pickle_by_value()


def test_what_the_user_registered_by_value_stays_registered():
    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    try:
        dump_arguments((Slotted,), {}, what="f")
        assert __name__ in cloudpickle.list_registry_pickle_by_value()
    finally:
        cloudpickle.unregister_pickle_by_value(here)


def test_threads_that_pickle_at_once_do_not_unregister_each_other():
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def __reduce__(self):
            inside.set()
            go_on.wait(10)
            return (int, (1,))

    sent = []
    thread = threading.Thread(
        target=lambda: sent.append(dump_arguments((Slow(), Slotted), {}, what="f"))
    )
    thread.start()
    assert inside.wait(10)
    dump_arguments((Slotted,), {}, what="g")
    go_on.set()
    thread.join()
    assert b"__slots__" in sent[0].data
    assert not cloudpickle.list_registry_pickle_by_value()


def test_an_unpicklable_argument_is_named_by_function_place_and_path():
    with pytest.raises(PayloadError) as caught:
        dump_arguments((1, Camera()), {}, what="lab.expose", names=("x", "camera"))
    message = str(caught.value)
    assert "lab.expose" in message
    assert "argument 2 ('camera')" in message
    assert "args[1].state['lock'] is a _thread.lock" in message
    assert caught.value.fields["kind"] == "_thread.lock"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([1, (2, threading.Lock())], "where[1][1]"),
        (Slotted(), "where.handle"),
        ({"a": {"b": [threading.Lock()]}}, "where['a']['b'][0]"),
        (Camera().state["lock"].acquire, "where.__self__"),
        ({"x" * 90: threading.Lock()}, f"where['{'x' * 36}...]"),
        (frozenset({threading.Lock()}), "an item of where"),
        (lambda x=LOCK: x, "default 0 of where"),
        (lambda *, x=LOCK: x, "the default of 'x' of where"),
    ],
)
def test_an_unpicklable_keyword_argument_is_named_by_its_keyword(value, path):
    with pytest.raises(PayloadError) as caught:
        dump_arguments((), {"fine": 1, "where": value}, what="f")
    assert "argument 'where'" in str(caught.value)
    assert caught.value.fields["path"] == path


@pytest.mark.parametrize(
    ("depth", "path"),
    [
        (12, "where" + "[1]" * 12),
        (40, "where" + "[1]" * 5 + " ... " + "[1]" * 6 + " (29 steps left out)"),
    ],
)
def test_of_a_long_way_to_the_culprit_the_first_and_the_last_steps_are_named(depth, path):
    value = threading.Lock()
    for _ in range(depth):
        value = [0, value]
    with pytest.raises(PayloadError) as caught:
        dump_arguments((), {"where": value}, what="f")
    assert f"because {path} is a _thread.lock" in str(caught.value)
    with pytest.raises(pickling.PicklingFailure) as failed:
        pickling.dump_value(value)
    assert f": {path.replace('where', 'result')} is of type" in str(failed.value)


def test_an_argument_whose_pickling_raises_is_named_too():
    class Stubborn:
        def __reduce__(self):
            raise RuntimeError("I stay")

    with pytest.raises(PayloadError, match=r"argument 1 .*Stubborn \(I stay\)"):
        dump_arguments((Stubborn(),), {}, what="f")


def test_a_chunk_arrives_as_it_was():
    items = [(1, "a"), (), (None,)]
    payload = dump_chunk(items, what="f")
    assert pickling.load_items(payload.data, payload.buffers) == items
    payload = dump_chunk([([1],), (np.zeros(1000),)], what="f")
    assert pickling.load_items(payload.data, payload.buffers)[0] == ([1],)


def test_the_item_of_a_chunk_that_cannot_be_pickled_is_named():
    with pytest.raises(PayloadError, match=r"item 2: .*argument 1 .*_thread.lock"):
        dump_chunk([(1,), ([2],), (threading.Lock(),)], what="f")


def test_an_unpicklable_global_of_a_function_is_named():
    with pytest.raises(PayloadError, match=r"the global 'LOCK' .* is a _thread.lock"):
        dump_function(uses_the_lock, what="lab.uses_the_lock")


def test_an_unpicklable_captured_variable_of_a_function_is_named():
    guard = threading.Lock()

    def inner():
        return guard

    def outer():
        return inner()

    with pytest.raises(PayloadError, match=r"the captured variable 'guard' of .*'inner'"):
        dump_function(outer, what="lab.outer")


def test_a_function_of_an_installed_module_is_sent_by_reference():
    assert len(dump_function(np.linalg.norm, what="norm")) < 200
    assert pickle.loads(dump_function(pickle.dumps, what="dumps")) is pickle.dumps


def test_a_variable_without_a_value_is_not_the_culprit():
    lock = threading.Lock()

    def fn():
        return later, lock

    with pytest.raises(PayloadError, match="'lock'"):
        dump_function(fn, what="fn")
    later = 1
    assert fn()[0] == later


class Refusing:
    """Says itself that it does not travel; what it holds is not why."""

    def __init__(self) -> None:
        self.held = {"lock": threading.Lock()}

    def __reduce__(self):
        raise PayloadError("<Refusing> can only be shown: pass its name")


def test_what_refuses_itself_is_the_culprit_and_its_own_words_are_the_way_out():
    refusing = Refusing()
    for fn, path in (
        (functools.partial(print, refusing), r"print\.args\[0\]"),
        (functools.partial(print, end=[refusing]), r"print\.keywords\['end'\]\[0\]"),
        (lambda: refusing, "the captured variable 'refusing' of what"),
    ):
        with pytest.raises(PayloadError) as caught:
            dump_function(fn, what="print" if path.startswith("print") else "what")
        assert re.fullmatch(
            rf"\w+ cannot be sent, because {path} is a \S+Refusing \(<Refusing> can only be "
            r"shown: pass its name\)",
            str(caught.value),
        )


def test_a_search_through_very_much_ends():
    values = [0] * 100_000 + [threading.Lock()]
    with pytest.raises(PayloadError, match=r"args\[0\] is a list"):
        dump_arguments((values,), {}, what="f")
