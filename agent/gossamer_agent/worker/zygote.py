"""The zygote: a small single-threaded process that forks workers, and sees them end.

It is exec'ed by the agent with a control socket (one JSON message per packet). A request to fork
carries the worker's socket, its shared page, and where its stdout and stderr go. The zygote is
the reaper of everything its workers leave behind: what is orphaned to it is killed. With the
control socket it ends, and its workers with it.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any, NoReturn

from gossamer_agent.worker import surroundings, veil
from gossamer_agent.worker.page import Page
from gossamer_agent.worker.serve import Worker

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MESSAGE_BYTES = 64 * 1024
DESCRIPTORS = 4


def main() -> None:
    """Serve the control socket whose descriptor is the first argument until it closes.

    The second is JSON: the modules to `preload`, and the directories that are not to be seen.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    told = json.loads(sys.argv[2])
    if told["hidden"]:
        _hide(control, told["hidden"], told["passing"])
    for name in ("cloudpickle", *told["preload"]):
        _preload(name)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    # The terminal's Ctrl-C is for the agent, which ends us by closing the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Zygote(control).run()


class Zygote:
    """Forks on request, kills on request, and says who has ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, int] = {}
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until the control socket closes, then end all workers."""
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        # What is shared with the workers stays shared: the collector must not write to it.
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_r, select.POLLIN)
        try:
            while True:
                for fd, _ in poll.poll():
                    if fd == self._wake_r:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_r, 4096)
                        self._reap()
                    elif not self._serve():
                        return
        finally:
            self._end_all()

    def _serve(self) -> bool:
        try:
            data, fds = _receive(self._control)
        except ConnectionResetError:
            # The agent went without reading all that we had told it.
            return False
        if not data:
            return False
        request = json.loads(data)
        if "kill" in request:
            self._kill(request["kill"])
        else:
            self._fork(request, fds)
        return True

    def _fork(self, request: dict[str, Any], fds: list[int]) -> None:
        worker = request["worker"]
        zygote = os.getpid()
        pid, why = -1, ""
        if threading.active_count() != 1:
            why = "a preloaded module has started a thread, which forbids forks"
        elif len(fds) != DESCRIPTORS:
            why = f"{len(fds)} of {DESCRIPTORS} descriptors have arrived"
        else:
            try:
                pid = os.fork()
            except OSError as error:
                why = str(error)
        if pid == 0:
            self._control.close()
            os.close(self._wake_r)
            os.close(self._wake_w)
            _become_worker(zygote, fds, request)
        for fd in fds:
            os.close(fd)
        if why:
            self._tell({"worker": worker, "failed": why})
        else:
            self._workers[pid] = worker
            self._tell({"worker": worker, "pid": pid})

    def _kill(self, worker: int) -> None:
        # Ours to wait for, so the number cannot have become another process's.
        for pid, number in self._workers.items():
            if number == worker:
                _kill_tree(pid)

    def _reap(self) -> None:
        ended: list[tuple[int, int]] = []
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                worker = self._workers.pop(pid, None)
                if worker is not None:
                    _kill_group(pid)
                    ended.append((worker, status))
        own = os.getpid()
        for child in surroundings.own_children(own, own):
            if child not in self._workers:
                _kill_tree(child)
        for worker, status in ended:
            self._tell({"worker": worker, "ended": status})

    def _end_all(self) -> None:
        for pid in list(self._workers):
            _kill_tree(pid)
        with contextlib.suppress(ChildProcessError):
            while self._workers:
                pid, _ = os.waitpid(-1, 0)
                self._workers.pop(pid, None)
        own = os.getpid()
        for child in surroundings.own_children(own, own):
            _kill_tree(child)

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the agent is gone; so will we be
            self._control.send(json.dumps(message).encode())


def _ignore(_number: int, _frame: object) -> None:
    """Let a signal wake the poll, which an ignored one would not."""


def _hide(control: socket.socket, hidden: list[str], passing: list[str]) -> None:
    """Before code of anybody's is read; the agent is told how it went."""
    try:
        word = {"secrets": veil.draw(hidden, passing), "why": ""}
    except (OSError, AttributeError) as error:
        word = {"secrets": veil.OPEN, "why": getattr(error, "strerror", "") or str(error)}
    control.send(json.dumps(word).encode())


def _preload(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        # Calls do without, but for those that need it, which will say so themselves. Where the
        # worker has none of its own, cloudpickle is put beside it.
        if name != "cloudpickle":
            sys.stderr.write(f"preload: {name} is not loaded: {error}\n")
            sys.stderr.flush()
    except Exception:  # noqa: BLE001  a module of the user's: it may raise anything
        traceback.print_exc()


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _kill_tree(pid: int) -> None:
    below = surroundings.children(pid)
    _kill_group(pid)
    surroundings.kill_all([pid, *below])


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    fds = array.array("i")
    room = socket.CMSG_LEN(DESCRIPTORS * fds.itemsize)
    data, ancillary, _, _ = control.recvmsg(MESSAGE_BYTES, room)
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(body[: len(body) - len(body) % fds.itemsize])
    return data, list(fds)


def _become_worker(zygote: int, fds: list[int], request: dict[str, Any]) -> NoReturn:
    code = 1
    try:
        # When the zygote is killed nobody would see to us; when that was before, nobody will.
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != zygote:
            os._exit(code)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        link, page, out, err = fds
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
            os.close(source)
        for fd in (link, page):
            os.set_inheritable(fd, False)
        directory = request["directory"]
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.chdir(directory)
        sys.argv[:] = ["gossamer-worker"]
        _reseed()
        Worker(
            socket.socket(fileno=link),
            Page(page),
            request["output"],
            request.get("agent", ""),
            number=request["worker"],
            results=request["results"],
        ).run()
        code = 0
    except BaseException:  # noqa: BLE001  whatever it was, this process must not return
        with contextlib.suppress(Exception):
            traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def _reseed() -> None:
    # `random` does this itself after a fork; numpy would give every worker the same numbers.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


if __name__ == "__main__":
    main()
