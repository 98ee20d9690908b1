from __future__ import annotations

import ast
import pickle
import threading
import traceback
import types
from pathlib import Path

import pytest

from gossamer_agent.worker import pickling
from gossamer_mesh.errors import PayloadError, RemoteError
from gossamer_mesh.payload import Trust, dump_arguments, load_error


class DimError(Exception):
    def __init__(self, lamp, volts):
        super().__init__(f"{lamp} at {volts} V")
        self.lamp = lamp


def raised(fn):
    try:
        fn()
    except BaseException as exc:  # noqa: BLE001 - SystemExit among them
        return exc
    raise AssertionError("nothing was raised")


def remote(fn, trust=None):
    return load_error(pickling.dump_error(raised(fn)), trust or Trust([__name__]), agent="pi-3")


def divide():
    return 1 // 0


def wrap():
    try:
        divide()
    except ZeroDivisionError as error:
        raise DimError("left", 3) from error


def stumble():
    try:
        divide()
    except ZeroDivisionError:
        raise ValueError("while cleaning") from None


def test_a_remote_exception_is_itself_with_the_remote_traceback():
    exc = remote(divide)
    assert type(exc) is ZeroDivisionError
    assert "in divide" in exc.remote_traceback
    shown = "".join(traceback.format_exception(exc))
    assert "remote traceback, from agent 'pi-3'" in shown
    assert "return 1 // 0" in shown


def test_an_own_exception_is_itself_though_its_init_takes_other_arguments():
    exc = remote(wrap)
    assert type(exc) is DimError
    assert (str(exc), exc.lamp) == ("left at 3 V", "left")


def test_cause_and_context_come_along():
    exc = remote(wrap)
    assert type(exc.__cause__) is ZeroDivisionError
    assert "in divide" in exc.__cause__.remote_traceback
    exc = remote(stumble)
    assert exc.__cause__ is None
    assert type(exc.__context__) is ZeroDivisionError
    assert exc.__suppress_context__


def test_an_untrusted_exception_stands_in_with_kind_message_and_traceback():
    exc = remote(wrap, Trust())
    assert type(exc) is RemoteError
    assert exc.fields["kind"] == f"{__name__}.DimError"
    assert "left at 3 V" in str(exc)
    assert "in wrap" in exc.fields["traceback"]
    assert type(exc.__cause__) is ZeroDivisionError


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_this_process_stands_in_as_a_remote_error(kind):
    def leave():
        raise kind("now")

    exc = remote(leave)
    assert type(exc) is RemoteError
    assert exc.fields["kind"] == f"builtins.{kind.__name__}"


def test_an_exception_that_cannot_be_pickled_stands_in():
    def hold():
        raise DimError("left", threading.Lock())

    def keep():
        exc = DimError("left", 1)
        exc.lock = threading.Lock()
        raise exc

    assert type(remote(hold)) is DimError
    assert type(remote(keep)) is RemoteError


def test_a_large_array_in_an_exception_does_not_stop_its_report():
    np = pytest.importorskip("numpy")

    def fail():
        raise ValueError(np.zeros(10_000))

    assert type(remote(fail)) is RemoteError


def test_an_exception_whose_str_raises_is_still_reported():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    def fail():
        raise MuteError

    exc = remote(fail, Trust())
    assert type(exc) is RemoteError
    assert "MuteError" in exc.fields["kind"]


def test_the_workers_own_frames_are_left_out():
    def fail():
        raise ValueError("user")

    source = compile("def call(fn):\n    fn()", pickling.__file__, "exec")
    worker = types.FunctionType(source.co_consts[0], {})
    error = raised(lambda: worker(fail))
    # As a worker catches it: its own frame is the first.
    error.__traceback__ = error.__traceback__.tb_next.tb_next
    assert error.__traceback__.tb_frame.f_code.co_filename == pickling.__file__
    exc = load_error(pickling.dump_error(error), Trust(), agent="a")
    assert "pickling.py" not in exc.remote_traceback
    assert "in fail" in exc.remote_traceback


def test_an_unpicklable_result_is_a_payload_error_here():
    failure = raised(lambda: pickling.dump_value([threading.Lock()], "lab.expose"))
    exc = load_error(pickling.dump_error(failure), Trust(), agent="a")
    assert type(exc) is PayloadError
    assert str(exc).startswith("the result of lab.expose cannot be pickled: result[0]")


class Sullen:
    """Tells nothing of itself, and breaks whoever looks into it."""

    def __repr__(self):
        raise RuntimeError("nothing to see")

    def __getattribute__(self, name):
        if name == "__dict__":
            raise RuntimeError("keep out")
        return super().__getattribute__(name)


class SullenError(Exception):
    def __str__(self):
        raise RuntimeError


class Raises:
    def __reduce__(self):
        raise SullenError


def test_a_result_that_tells_nothing_of_itself_is_named_all_the_same():
    failure = raised(lambda: pickling.dump_value({Sullen(): threading.Lock()}, "f"))
    assert "result[<Sullen>] is of type _thread.lock" in str(failure)
    failure = raised(lambda: pickling.dump_value([Sullen(), threading.Lock()], "f"))
    assert str(failure).startswith("the result of f cannot be pickled")


def test_an_argument_that_tells_nothing_of_itself_is_named_all_the_same():
    with pytest.raises(PayloadError, match=r"\[<Sullen>\].*lock"):
        dump_arguments(({Sullen(): threading.Lock()},), {}, what="f")
    with pytest.raises(PayloadError, match="SullenError"):
        dump_arguments((Raises(),), {}, what="f")


def test_groups_keep_their_members():
    def fail():
        raise ExceptionGroup("both", [ValueError(1), DimError("left", 2)])

    exc = remote(fail)
    assert [type(member) for member in exc.exceptions] == [ValueError, DimError]


def test_long_texts_are_cut_in_the_middle():
    def fail():
        raise ValueError("x" * 10**6)

    assert len(pickling.dump_error(raised(fail))) < 1_300_000
    exc = load_error(pickling.dump_error(raised(fail)), Trust(), agent="a")
    assert "characters left out" in exc.remote_traceback


def test_a_ring_of_contexts_ends():
    first, second = ValueError(1), ValueError(2)
    first.__context__, second.__context__ = second, first
    exc = load_error(pickling.dump_error(first), Trust(), agent="a")
    assert exc.__context__.args == (2,)
    assert exc.__context__.__context__ is None


@pytest.mark.parametrize(
    "records",
    [
        5,
        [],
        [1],
        [("k", "m", "t", None, 0, 0)],
        [("k", 5, "t", None, 0, 0, False)],
        [("k", "m", "t", "not bytes", 0, 0, False)],
    ],
)
def test_a_malformed_error_is_a_payload_error(records):
    with pytest.raises(PayloadError):
        load_error(pickle.dumps(records, 5), Trust(), agent="a")


def test_links_out_of_the_chain_are_ignored():
    record = ("k", "m", "t", None, 7, -3, False)
    exc = load_error(pickle.dumps([record], 5), Trust(), agent="a")
    assert (exc.__cause__, exc.__context__) == (None, None)


def test_an_exception_pickle_that_makes_none_stands_in():
    record = ("k", "m", "t", pickle.dumps("no exception", 5), 0, 0, False)
    assert type(load_error(pickle.dumps([record], 5), Trust(), agent="a")) is RemoteError


def test_the_worker_side_is_python_3_8():
    source = Path(pickling.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert "gossamer_mesh" not in source.replace('"gossamer_mesh.errors.PayloadError"', "")
    assert "cloudpickle" not in imported
