"""Processes that are forked or spawned after `connect`: real ones, each told what it can do."""

from __future__ import annotations

import pytest

from tests.integration.test_sdk import finish

pytestmark = pytest.mark.integration

OPENED = """
import asyncio, concurrent.futures, multiprocessing, os, pickle, signal, sys, time, warnings
import gossamer
warnings.simplefilter("ignore", DeprecationWarning)
ACCESS = {access!r}

def nap(seconds, value):
    import time
    time.sleep(seconds)
    return value

def forked(child):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        child()
        sys.stdout.flush()
        sys.exit(0)
    print("child:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

def refused(use):
    began = time.monotonic()
    try:
        use()
    except gossamer.LinkClosedError as error:
        assert "gossamer.connect()" in str(error), error
        assert time.monotonic() - began < 1.0
        return True
    return False
"""


def program(shared, body: str) -> str:
    return OPENED.format(access=str(shared.access)) + body


def test_whatever_a_forked_child_waits_for_of_its_parents_it_is_told_at_once(script, shared):
    source = program(
        shared,
        """
async def wait(task):
    await task

with gossamer.connect(ACCESS) as mesh:
    task, done = mesh.submit(nap, 1.5, 7), mesh.submit(nap, 0, 8)
    other = mesh.submit(nap, 1.5, 9)
    pool = mesh.executor()
    held = pool.submit(nap, 1.5, 10)
    done.result(10)
    concurrent.futures.wait([other], 0.01)  # which makes its condition

    def child():
        uses = {
            "submit": lambda: mesh.submit(nap, 0, 1),
            "options": lambda: mesh.options(retries=0).submit(nap, 0, 1),
            "map": lambda: list(mesh.map(nap, [0], [1])),
            "agents": mesh.agents,
            "explain": lambda: mesh.explain(nap, 0, 1),
            "pool": lambda: pool.submit(nap, 0, 1),
            "result": task.result,
            "result of one waited for": other.result,
            "exception": task.exception,
            "wait": lambda: concurrent.futures.wait([task, other]),
            "as_completed": lambda: list(concurrent.futures.as_completed([task])),
            "callback": lambda: task.add_done_callback(print),
            "cancel": task.cancel,
            "logs": lambda: list(task.logs(follow=True)),
            "await": lambda: asyncio.run(wait(task)),
        }
        print([name for name, use in uses.items() if not refused(use)])
        print(done.result(), repr(task)[:6], task.done(), task.cancelled(), task.stdout == "")
        pool.shutdown()
        mesh.close()

    forked(child)
    print(task.result(10), other.result(10), held.result(10), mesh.submit(nap, 0, 11).result(10))
""",
    )
    said = "[]\n8 <Task  False False True\nchild: 0\n7 9 10 11\n"
    assert finish(script(source)) == (0, said, "")


def test_a_child_connects_for_itself_while_the_parents_threads_are_busy(script, shared):
    source = program(
        shared,
        """
import threading
with gossamer.connect(ACCESS) as mesh:
    stop = threading.Event()
    def load():
        while not stop.is_set():
            concurrent.futures.wait([mesh.submit(nap, 0, x) for x in range(50)])
    loading = threading.Thread(target=load)
    loading.start()

    def child():
        with gossamer.connect(ACCESS) as own:
            found = [own.submit(nap, 0, x) for x in range(20)]
            concurrent.futures.wait(found)
            assert [task.result(10) for task in found] == list(range(20))

    for _ in range(20):
        forked(child)
    stop.set()
    loading.join()
    print(mesh.submit(nap, 0, 1).result(10))
""",
    )
    assert finish(script(source)) == (0, "child: 0\n" * 20 + "1\n", "")


@pytest.mark.parametrize("leaves", ["sys.exit(0)", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_however_a_child_ends_nothing_of_the_parents_ends_with_it(script, home, leaves):
    source = f"""
import os, sys, gossamer

mesh = gossamer.connect()
pool = mesh.executor()
print(pool.submit(abs, -1).result(20), flush=True)
pid = os.fork()
if pid == 0:
    {leaves}
os.waitpid(pid, 0)
print(mesh.submit(abs, -2).result(10), len(mesh.agents()))
"""
    assert finish(script(source)) == (0, "1\n2 1\n", "")


def test_what_a_child_lets_go_of_is_still_its_parents(script, shared):
    source = program(
        shared,
        """
import gc
with gossamer.connect(ACCESS) as mesh:
    ref, large = mesh.put(bytes(1_000_000)), mesh.submit(bytes, 2_000_000)
    waiting = mesh.submit(nap, 0.5, bytes(3_000_000))
    concurrent.futures.wait([large])

    def child():
        global ref, large, waiting
        del ref, large, waiting
        gc.collect()
        time.sleep(0.5)

    forked(child)
    print(mesh.submit(len, ref).result(10), len(large.result(10)), len(waiting.result(10)))
""",
    )
    assert finish(script(source)) == (0, "child: 0\n1000000 2000000 3000000\n", "")


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_after_connect_however_it_starts_processes(script, shared, how):
    source = program(
        shared,
        f"""
def work(x):
    with gossamer.connect(ACCESS) as own:
        return own.submit(abs, x).result(10)

if __name__ == "__main__":
    with gossamer.connect(ACCESS) as mesh:
        pending = mesh.submit(nap, 1.0, 6)
        with multiprocessing.get_context({how!r}).Pool(2) as workers:
            print(workers.map(work, [-4, -5]))
        with concurrent.futures.ProcessPoolExecutor(
            2, mp_context=multiprocessing.get_context({how!r})
        ) as workers:
            print(list(workers.map(work, [-4, -5])))
        print(pending.result(10), mesh.submit(abs, -7).result(10))
""",
    )
    assert finish(script(source)) == (0, "[4, 5]\n[4, 5]\n6 7\n", "")


def test_what_is_this_processs_alone_says_so_when_it_is_pickled(script, shared):
    source = program(
        shared,
        """
with gossamer.connect(ACCESS) as mesh:
    task = mesh.submit(nap, 0, 1)
    for thing in (mesh, mesh.options(retries=0), task):
        try:
            pickle.dumps(thing)
        except TypeError as error:
            print("connect()" in str(error))
    try:
        mesh.submit(nap, 0, task)
    except gossamer.PayloadError as error:
        print("task.result()" in str(error))
""",
    )
    assert finish(script(source)) == (0, "True\n" * 4, "")


def test_a_task_may_use_multiprocessing_and_its_children_may_tell_its_progress(script, shared):
    source = program(
        shared,
        """
def part(x):
    gossamer.progress(x / 2, f"part {x}")
    print("part", x, gossamer.current_task().id, flush=True)
    time.sleep(0.2)

def whole():
    for x in range(3):
        process = multiprocessing.get_context("fork").Process(target=part, args=(x,))
        process.start()
        process.join()

if __name__ == "__main__":
    with gossamer.connect(ACCESS) as mesh:
        task = mesh.submit(whole)
        lines = [str(line) for line in task.logs(follow=True)]
        print(lines == [f"part {x} {task.id}" for x in range(3)], task.progress, task.result(10))
""",
    )
    said = "True Progress(fraction=1.0, note='part 2') None\n"
    assert finish(script(source)) == (0, said, "")
