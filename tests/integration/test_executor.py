"""`mesh.executor()` against the contract of `concurrent.futures.Executor`, on a real mesh."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import logging
import os
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, as_completed, wait
from pathlib import Path
from subprocess import Popen

import pytest

import gossamer
from gossamer import MeshExecutor

pytestmark = pytest.mark.timeout(30)

LONG_S = 20.0
"""Nobody waits for so long: what sleeps for it is cancelled."""


def square(x: int) -> int:
    return x * x


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def fail(message: str) -> None:
    raise ValueError(message)


def fail_from() -> None:
    try:
        open("/no/such/file")  # noqa: PTH123, SIM115  as users write it
    except OSError as error:
        raise LookupError("not found") from error


def is_odd(x: int) -> int:
    if x % 2 == 0:
        raise ValueError(f"{x} is even")
    return x


def touch_later(path: str, seconds: float) -> None:
    time.sleep(seconds)
    Path(path).touch()


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def twice(self) -> int:
        return 2 * self.x


def point(x: int) -> Point:
    return Point(x)


class OddError(Exception):
    pass


def square_of_odd(x: int) -> int:
    if x % 2 == 0:
        raise OddError(f"{x} is even")
    return x * x


def fail_oddly() -> None:
    raise OddError("oddly")


@pytest.fixture
def pool(mesh: gossamer.Mesh) -> Iterator[MeshExecutor]:
    made = mesh.executor()
    yield made
    made.shutdown(wait=False, cancel_futures=True)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- submit and result -----------------------------------------------------------------------------


def test_it_is_an_executor_and_its_tasks_are_futures(pool: MeshExecutor):
    assert isinstance(pool, concurrent.futures.Executor)
    future = pool.submit(pow, 2, exp=5)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(5) == 32
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert future.exception(0) is None


def test_arguments_named_self_and_fn_reach_the_function(pool: MeshExecutor):
    assert pool.submit(dict, self=1, fn=2).result(5) == {"self": 1, "fn": 2}


def test_methods_partials_and_lambdas_run(pool: MeshExecutor):
    assert pool.submit(Point(4).twice).result(5) == 8
    assert pool.submit(lambda x: x + 1, 1).result(5) == 2


def test_result_times_out_and_the_task_goes_on(pool: MeshExecutor):
    future = pool.submit(nap, 0.3)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    assert future.result(5) == 0.3


def test_every_thread_that_asks_gets_the_same_object(pool: MeshExecutor):
    future = pool.submit(point, 3)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        results = [each.result() for each in [threads.submit(future.result, 5) for _ in range(8)]]
    assert {id(result) for result in results} == {id(future.result())}


def test_many_threads_submit_at_once(pool: MeshExecutor):
    def submit(start: int) -> list[int]:
        futures = [pool.submit(square, start + i) for i in range(200)]
        return [future.result(20) for future in futures]

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(submit, range(0, 1600, 200)))
    assert list(itertools.chain(*found)) == [x * x for x in range(1600)]


# -- exceptions ------------------------------------------------------------------------------------


def test_an_exception_is_raised_as_itself_each_time(pool: MeshExecutor):
    future = pool.submit(fail, "on purpose")
    for _ in range(2):
        with pytest.raises(ValueError, match="on purpose"):
            future.result(5)
    assert isinstance(future.exception(), ValueError)
    assert future.exception() is future.exception()


def test_an_exception_has_its_cause_and_is_shown_with_its_remote_traceback(pool: MeshExecutor):
    error = pool.submit(fail_from).exception(5)
    assert isinstance(error, LookupError)
    assert isinstance(error.__cause__, FileNotFoundError)
    assert error.__cause__.filename == "/no/such/file"
    shown = "".join(traceback.format_exception(error))
    assert 'raise LookupError("not found") from error' in shown
    assert "FileNotFoundError" in shown
    assert "remote traceback" in shown


def test_the_callers_own_exceptions_are_raised_as_themselves(pool: MeshExecutor):
    with pytest.raises(OddError, match="oddly"):
        pool.submit(fail_oddly).result(5)


def test_a_remote_exit_does_not_end_this_process(pool: MeshExecutor):
    def leave() -> None:
        raise SystemExit(3)

    error = pool.submit(leave).exception(5)
    assert isinstance(error, Exception)


# -- callbacks -------------------------------------------------------------------------------------


def test_callbacks_run_in_order_with_the_future(pool: MeshExecutor):
    called: list[object] = []
    future = pool.submit(nap, 0.1)
    future.add_done_callback(lambda f: called.append(("first", f)))
    future.add_done_callback(lambda f: called.append(("second", f)))
    pool.shutdown()
    assert called == [("first", future), ("second", future)]


def test_shutdown_waits_for_callbacks_of_failed_tasks_too(pool: MeshExecutor):
    called: list[BaseException | None] = []
    for _ in range(20):
        future = pool.submit(fail, "x")
        future.add_done_callback(lambda f: called.append(f.exception()))
    pool.shutdown()
    assert len(called) == 20
    assert {type(error) for error in called} == {ValueError}


def test_an_exception_in_a_callback_is_logged_and_the_next_one_runs(
    pool: MeshExecutor, caplog: pytest.LogCaptureFixture
):
    called: list[object] = []

    def bad(_: object) -> None:
        raise OddError("in a callback")

    with caplog.at_level(logging.ERROR):
        future = pool.submit(nap, 0.1)
        future.add_done_callback(bad)
        future.add_done_callback(called.append)
        pool.shutdown()
    assert called == [future]
    assert "in a callback" in caplog.text


def test_a_callback_added_after_the_end_runs_at_once(pool: MeshExecutor):
    future = pool.submit(square, 3)
    future.result(5)
    called: list[object] = []
    future.add_done_callback(called.append)
    assert called == [future]


def test_a_callback_may_submit_and_may_wait(pool: MeshExecutor):
    results: list[int] = []
    ready = threading.Event()

    def again(future: concurrent.futures.Future[int]) -> None:
        results.append(pool.submit(square, future.result()).result(5))
        ready.set()

    pool.submit(square, 3).add_done_callback(again)
    assert ready.wait(10)
    assert results == [81]


def test_a_callback_may_shut_the_executor_down(pool: MeshExecutor):
    ready = threading.Event()

    def shut(_: object) -> None:
        pool.shutdown(wait=True)
        ready.set()

    pool.submit(nap, 0.1).add_done_callback(shut)
    assert ready.wait(10)


# -- cancel ----------------------------------------------------------------------------------------


def test_a_waiting_task_is_cancelled_and_never_runs(pool: MeshExecutor, tmp_path: Path):
    blockers = [pool.submit(nap, 0.5) for _ in range(4)]
    path = tmp_path / "ran"
    waiting = pool.submit(touch_later, str(path), 0)
    assert waiting.cancel()
    assert waiting.cancelled()
    assert waiting.done()
    with pytest.raises(CancelledError):
        waiting.result(0)
    with pytest.raises(CancelledError):
        waiting.exception(0)
    wait(blockers)
    assert pool.submit(square, 2).result(5) == 4
    assert not path.exists()


def test_a_running_task_is_cancelled_and_killed(pool: MeshExecutor, tmp_path: Path):
    path = tmp_path / "ran"
    future = pool.submit(touch_later, str(path), 1.0)
    until(future.running)
    assert future.cancel()
    assert future.cancelled()
    assert future.state in {"cancelling", "cancelled"}
    until(lambda: future.state == "cancelled")
    time.sleep(1.2)
    assert not path.exists()


def test_cancel_of_an_ended_task_is_false(pool: MeshExecutor):
    future = pool.submit(square, 2)
    assert future.result(5) == 4
    assert not future.cancel()
    assert future.result() == 4


def test_cancel_twice_and_from_many_threads_is_true_each_time(pool: MeshExecutor):
    future = pool.submit(nap, LONG_S)
    called: list[object] = []
    future.add_done_callback(called.append)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: future.cancel(), range(32)))
    assert called == [future]


# -- wait and as_completed -------------------------------------------------------------------------


def test_wait_returns_at_the_first_completed(pool: MeshExecutor):
    long, short = pool.submit(nap, LONG_S), pool.submit(nap, 0.1)
    done, pending = wait([long, short], timeout=5, return_when=FIRST_COMPLETED)
    assert (done, pending) == ({short}, {long})


def test_wait_returns_at_the_first_exception(pool: MeshExecutor):
    long, good, bad = pool.submit(nap, LONG_S), pool.submit(square, 1), pool.submit(fail, "x")
    began = time.monotonic()
    done, pending = wait([long, good, bad], timeout=10, return_when=FIRST_EXCEPTION)
    assert time.monotonic() - began < 5
    assert bad in done
    assert long in pending


def test_wait_returns_at_the_first_exception_that_was_there_before(pool: MeshExecutor):
    bad = pool.submit(fail, "x")
    assert bad.exception(5)
    long = pool.submit(nap, LONG_S)
    done, _ = wait([long, bad], timeout=5, return_when=FIRST_EXCEPTION)
    assert done == {bad}


def test_wait_hears_of_a_cancel(pool: MeshExecutor):
    long = pool.submit(nap, LONG_S)
    threading.Timer(0.1, long.cancel).start()
    done, pending = wait([long], timeout=5)
    assert (done, pending) == ({long}, set())


def test_wait_times_out(pool: MeshExecutor):
    long = pool.submit(nap, LONG_S)
    done, pending = wait([long], timeout=0.05)
    assert (done, pending) == (set(), {long})


def test_as_completed_yields_each_once_as_they_end(pool: MeshExecutor):
    slow, quick = pool.submit(nap, 0.4), pool.submit(nap, 0.05)
    ended = pool.submit(square, 1)
    ended.result(5)
    assert list(as_completed([slow, quick, ended, quick], timeout=5)) == [ended, quick, slow]


def test_as_completed_times_out_after_what_has_ended(pool: MeshExecutor):
    long, quick = pool.submit(nap, LONG_S), pool.submit(square, 1)
    quick.result(5)
    seen: list[object] = []
    with pytest.raises(TimeoutError):
        seen.extend(future for future in as_completed([long, quick], timeout=0.05))
    assert wait([quick]).done == {quick}


# -- map -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 7, 1000])
def test_map_is_in_order(pool: MeshExecutor, chunksize: int):
    assert list(pool.map(square, range(100), chunksize=chunksize)) == [x * x for x in range(100)]


def test_map_ends_with_the_shortest_iterable(pool: MeshExecutor):
    assert list(pool.map(pow, itertools.count(1), [2, 3, 4], buffersize=4)) == [1, 8, 81]
    assert list(pool.map(square, [])) == []


@pytest.mark.parametrize("chunksize", [1, 4])
def test_map_raises_in_place(pool: MeshExecutor, chunksize: int):
    results = pool.map(is_odd, [1, 3, 4, 5], chunksize=chunksize)
    assert next(results) == 1
    assert next(results) == 3
    with pytest.raises(ValueError, match="4 is even"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_the_timeout_of_map_counts_from_the_call(pool: MeshExecutor):
    results = pool.map(nap, [0.0, 0.0, LONG_S], timeout=0.6)
    seen: list[float] = []
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        seen.extend(results)
    assert time.monotonic() - began < 3


def test_what_is_left_of_a_map_that_timed_out_is_cancelled(mesh: gossamer.Mesh):
    pool = mesh.executor()
    with pytest.raises(TimeoutError):
        list(pool.map(nap, [LONG_S] * 8, timeout=0.1))
    began = time.monotonic()
    pool.shutdown()
    assert time.monotonic() - began < 5


def test_map_runs_everything_also_when_nobody_looks_at_the_results(
    pool: MeshExecutor, tmp_path: Path
):
    paths = [str(tmp_path / str(n)) for n in range(50)]
    pool.map(touch_later, paths, [0.0] * 50)
    pool.shutdown()
    assert len(list(tmp_path.iterdir())) == 50


def test_map_takes_no_more_of_its_iterable_than_its_buffer(pool: MeshExecutor):
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for n in itertools.count():
            taken.append(n)
            yield n

    results = pool.map(square, numbers(), buffersize=3)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(taken) <= 8


@pytest.mark.parametrize("wrong", [{"chunksize": 0}, {"chunksize": -1}, {"buffersize": 0}])
def test_map_refuses_sizes_below_one(pool: MeshExecutor, wrong: dict[str, int]):
    with pytest.raises(ValueError, match="whole number, 1 or more"):
        pool.map(square, [1], **wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_map_cancels_what_was_submitted_when_its_iterable_fails(pool: MeshExecutor):
    def numbers() -> Iterator[float]:
        yield LONG_S
        raise OddError("no more")

    with pytest.raises(OddError):
        pool.map(nap, numbers())
    began = time.monotonic()
    pool.shutdown()
    assert time.monotonic() - began < 5


# -- shutdown --------------------------------------------------------------------------------------


def test_nothing_is_taken_after_shutdown(pool: MeshExecutor):
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(square, [1])
    pool.shutdown()


def test_leaving_the_block_waits(mesh: gossamer.Mesh):
    with mesh.executor() as pool:
        future = pool.submit(nap, 0.3)
    assert future.done()
    assert mesh.submit(square, 2).result(5) == 4


def test_shutdown_waits_for_tasks_that_nobody_holds(pool: MeshExecutor, tmp_path: Path):
    pool.submit(touch_later, str(tmp_path / "ran"), 0.3)
    gc.collect()
    pool.shutdown()
    assert (tmp_path / "ran").exists()


def test_shutdown_without_waiting_lets_tasks_end(pool: MeshExecutor):
    future = pool.submit(nap, 0.3)
    began = time.monotonic()
    pool.shutdown(wait=False)
    assert time.monotonic() - began < 0.2
    assert future.result(5) == 0.3


def test_shutdown_cancels_what_waits_and_lets_end_what_runs(pool: MeshExecutor):
    futures = [pool.submit(nap, 0.4) for _ in range(24)]
    pool.shutdown(cancel_futures=True)
    ended = [future for future in futures if not future.cancelled()]
    assert 1 <= len(ended) <= 8
    assert [future.result(0) for future in ended] == [0.4] * len(ended)


def test_an_executor_of_a_closed_mesh_says_so(mesh: gossamer.Mesh):
    pool = mesh.executor()
    mesh.close()
    with pytest.raises(gossamer.LinkClosedError, match=r"gossamer\.connect"):
        pool.submit(square, 1)
    pool.shutdown()


# -- no stale references ---------------------------------------------------------------------------


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What goes, goes by its reference count alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_arguments_and_bound_methods_are_not_kept(pool: MeshExecutor, no_collector: None):
    held = Point(5)
    gone = weakref.ref(held)
    pool.submit(held.twice).result(5)
    pool.submit(id, held).result(5)
    del held
    until(lambda: gone() is None)


def test_a_task_goes_when_its_user_lets_go(pool: MeshExecutor, no_collector: None):
    future = pool.submit(point, 1)
    gone = weakref.ref(future)
    gone_too = weakref.ref(future.result(5))
    del future
    assert gone() is None
    assert gone_too() is None


def test_a_failed_task_and_its_exception_go(pool: MeshExecutor, no_collector: None):
    future = pool.submit(fail_oddly)
    error = future.exception(5)
    assert error is not None
    gone, gone_too = weakref.ref(future), weakref.ref(error)
    del future, error
    assert gone() is None
    assert gone_too() is None


def test_a_raised_exception_goes(pool: MeshExecutor, no_collector: None):
    def raise_it() -> weakref.ref[BaseException]:
        future = pool.submit(fail_oddly)
        try:
            future.result(5)
        except OddError as error:
            return weakref.ref(error)
        finally:
            del future
        raise AssertionError

    assert raise_it()() is None


def test_a_task_with_a_callback_goes(pool: MeshExecutor, no_collector: None):
    called = threading.Event()
    future = pool.submit(nap, 0.1)
    future.add_done_callback(lambda _: called.set())
    gone = weakref.ref(future)
    assert called.wait(5)
    del future
    until(lambda: gone() is None)


def test_a_cancelled_task_goes(pool: MeshExecutor, no_collector: None):
    future = pool.submit(nap, LONG_S)
    gone = weakref.ref(future)
    future.cancel()
    del future
    until(lambda: gone() is None)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_results_of_map_are_not_kept(pool: MeshExecutor, no_collector: None, chunksize: int):
    results = pool.map(point, range(8), chunksize=chunksize)
    for result in results:
        gone = weakref.ref(result)
        del result
        assert gone() is None


def test_results_of_map_in_any_order_are_not_kept(mesh: gossamer.Mesh, no_collector: None):
    for result in mesh.map(point, range(8), ordered=False):
        gone = weakref.ref(result)
        del result
        assert gone() is None


@pytest.mark.parametrize("chunksize", [1, 4])
def test_errors_of_map_are_not_kept(pool: MeshExecutor, no_collector: None, chunksize: int):
    def first_error() -> weakref.ref[BaseException]:
        try:
            list(pool.map(square_of_odd, range(1, 8), chunksize=chunksize))
        except OddError as error:
            return weakref.ref(error)
        raise AssertionError

    assert first_error()() is None


# -- the end of the process ------------------------------------------------------------------------


FORGETS = """
import sys, time, gossamer

def touch(path):
    time.sleep(0.5)
    open(path, "w").close()

mesh = gossamer.connect({access!r})
{do}
"""


def finish(process: Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_a_script_that_forgets_to_close_ends_well(script, shared):
    access = str(shared.access)
    do = "task = mesh.submit(pow, 2, 3); print(task.result(10)); mesh.submit(time.sleep, 20)"
    assert finish(script(FORGETS.format(access=access, do=do))) == (0, "8\n", "")


def test_a_script_that_forgets_its_executor_ends_when_its_work_has(script, shared, tmp_path: Path):
    path = tmp_path / "ran"
    do = f"mesh.executor().submit(touch, {str(path)!r})"
    assert finish(script(FORGETS.format(access=str(shared.access), do=do))) == (0, "", "")
    assert path.exists()


def test_a_script_with_its_own_mesh_that_forgets_to_close_leaves_no_process(
    script, mine: Callable[[], list[object]]
):
    process = script(
        """
        import gossamer, time
        mesh = gossamer.connect()
        print(mesh.submit(pow, 2, 3).result(20))
        mesh.submit(time.sleep, 20)
        """
    )
    assert finish(process) == (0, "8\n", "")
    until(lambda: not mine())


def test_ctrl_c_in_result_is_a_keyboard_interrupt_and_the_task_can_go_on(script, shared):
    process = script(
        f"""
        import gossamer, os, signal, threading, time
        with gossamer.connect({str(shared.access)!r}) as mesh:
            task = mesh.submit(time.sleep, 1.0)
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                task.result(10)
            except KeyboardInterrupt:
                print("interrupted", task.done())
            print(task.result(10), task.state)
        """
    )
    assert finish(process) == (0, "interrupted False\nNone succeeded\n", "")


@pytest.mark.parametrize("whom", ["process", "terminal"])
def test_ctrl_c_ends_a_client_with_its_own_mesh_at_once(
    script, mine: Callable[[], list[object]], whom: str
):
    process = script(
        """
        import gossamer, time
        with gossamer.connect() as mesh:
            mesh.submit(abs, -1).result(20)
            task = mesh.submit(time.sleep, 60)
            print("go", flush=True)
            task.result(60)
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(0.2)
    began = time.monotonic()
    if whom == "process":
        os.kill(process.pid, signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGINT)
    status, _, err = finish(process)
    assert time.monotonic() - began < 4
    assert status == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    until(lambda: not mine())
