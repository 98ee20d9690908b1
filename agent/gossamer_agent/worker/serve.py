"""A worker: takes calls from its socket, one after the other, and sends back how each ended.

Every result is sent before the next call starts, so that a crash loses only the call it hits.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import json
import os
import resource
import socket
import sys
import time
import traceback
from typing import Any, Callable, Sequence

from gossamer_agent.worker import blobs, frames, inside, pickling, tape
from gossamer_agent.worker.output import Captured
from gossamer_agent.worker.page import Page
from gossamer_agent.worker.spent import Spent
from gossamer_agent.worker.surroundings import Surroundings
from gossamer_agent.worker.wear import Wear, Worn

READ_BYTES = 256 * 1024

_LACKING = frozenset({errno.ENOMEM, errno.ENOSPC})


class Worker:
    """The loop. `output` bounds, in characters, what is kept of a call's stdout and stderr.

    `agent` is the name that calls are told. `results` are the directories for large results, the
    best first; what worker `number` writes there is named after it and the call.
    """

    def __init__(
        self,
        sock: socket.socket,
        page: Page,
        output: int,
        agent: str = "",
        *,
        number: int = 0,
        results: Sequence[str] = (),
    ) -> None:
        self._sock = sock
        self._number = number
        self._results = results
        self._page = page
        self._desk = inside.open_desk(page, agent)
        write = tape.Tape(page).write
        self._stdout = Captured(1, output, functools.partial(write, tape.STDOUT))
        self._stderr = Captured(2, output, functools.partial(write, tape.STDERR))
        self._code: dict[bytes, bytes] = {}
        self._functions: dict[bytes, Callable[..., Any]] = {}
        self._pid = os.getpid()
        self._home = os.getcwd()

    def run(self) -> None:
        """Serve until the agent closes the socket."""
        sys.stdout, sys.stderr = self._stdout, self._stderr
        os.register_at_fork(after_in_child=self._forked)
        self._around = Surroundings()
        self._wear = Wear(self._sock.fileno())
        self._spent = Spent()
        # That the agent is gone is all that an error of the socket can mean.
        with contextlib.suppress(ConnectionError):
            self._sock.sendall(frames.ready())
            try:
                self._serve()
            except Worn as worn:
                # For the agent's log. Calls that are here already are run by another worker.
                os.write(2, f"worn: {worn}".encode())

    def _serve(self) -> None:
        reader = frames.Reader()
        while True:
            data = self._sock.recv(READ_BYTES)
            if not data:
                return
            for frame in reader.feed(data):
                if type(frame) is frames.CallFrame:
                    self._call(frame)
                elif type(frame) is frames.FunctionFrame:
                    self._code[frame.function] = frame.code
                elif type(frame) is frames.BindFrame:
                    self._bind(json.loads(frame.settings))
                elif type(frame) is frames.IncludeFrame:
                    self._include(frame)

    def _include(self, frame: frames.IncludeFrame) -> None:
        # It imports zipfile: 10 ms and 1 MiB for who includes something.
        from gossamer_agent.worker import include  # noqa: PLC0415 - see above

        # Those of one caller share them with nobody: what runs here could change the files.
        place = os.path.join(os.path.dirname(self._home), "includes", self._desk.caller)
        sys.path.insert(0, include.unpack(place, frame.digest.hex(), frame.content))
        importlib.invalidate_caches()
        self._around.refresh()

    def _forked(self) -> None:
        self._stdout.pass_through()
        self._stderr.pass_through()

    def _bind(self, settings: dict[str, Any]) -> None:
        self._desk.caller = settings.get("caller", "")
        gpus: list[int] = settings.get("gpus", [])
        # NVML numbers GPUs by PCI bus; CUDA does so only when it is told to.
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        memory_bytes: int = settings.get("memory_bytes", 0)
        if memory_bytes:
            with open("/proc/self/statm") as statm:
                used = int(statm.read().split()[0]) * resource.getpagesize()
            # What the interpreter maps already is not the caller's to pay for.
            most = min(used + memory_bytes, sys.maxsize)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        environ: dict[str, str] = settings.get("environ", {})
        os.environ.update(environ)
        self._around.refresh()
        self._wear = Wear(self._sock.fileno(), memory_bytes)

    def _call(self, frame: frames.CallFrame) -> None:
        if not self._page.start(frame.seq):
            self._sock.sendall(frames.result(frame.seq, frames.REVOKED, 0.0, b""))
            return
        self._desk.frame = frame
        flags = 0 if frame.function in self._functions else frames.COLD
        began = time.perf_counter()
        status = frames.ERROR
        buffers: list[Any] = []
        try:
            status, data, buffers = self._outcome(frame)
        except BaseException as error:  # noqa: BLE001  user code may raise anything
            data = _failure(error)
            if _is_unfit(error):
                flags |= frames.UNFIT
        ran_s = time.perf_counter() - began
        if os.getpid() != self._pid:
            # User code forked and let its child return: only one of the two may answer.
            os._exit(0)
        if status == frames.OK and (
            len(data) > blobs.LARGE_BYTES or (buffers and type(buffers[0]) is memoryview)
        ):
            status, more, data = self._in_file(frame.seq, data, buffers)
            flags, buffers = flags | more, []
        elif len(data) > frames.MAX_RESULT_BYTES:
            status, data = frames.TOO_LARGE, str(len(data)).encode()
        stdout = self._stdout.take() if self._stdout.dirty else b""
        stderr = self._stderr.take() if self._stderr.dirty else b""
        if sys.stdout is not self._stdout or sys.stderr is not self._stderr:
            sys.stdout, sys.stderr = self._stdout, self._stderr
        cpu_s = self._spent.by(ran_s)
        self._sock.sendall(
            frames.result(
                frame.seq, status, ran_s, data, buffers, stdout, stderr, flags=flags, cpu_s=cpu_s
            )
        )
        self._desk.frame = None
        # Nobody waits for this: the result is on its way. Should it fail, this process ends, and
        # the next call gets another one.
        self._around.restore()
        self._wear.look(ran_s, flags & frames.UNFIT)

    def _in_file(self, seq: int, data: bytes, buffers: list[Any]) -> tuple[int, int, bytes]:
        """Write a large result down; return status, flags and data of its frame."""
        name = f"{self._number}-{seq}"
        size = blobs.size_of(data, buffers)
        try:
            index = blobs.write(self._results, name, data, buffers)
        except OSError as error:
            why = f"it takes {size} bytes, and cannot be written down: {error.strerror or error}"
            return frames.NO_ROOM, frames.UNFIT, why.encode()
        told = {"place": index, "name": name, "size": size}
        return frames.OK, frames.FILE, json.dumps(told).encode()

    def _outcome(self, frame: frames.CallFrame) -> tuple[int, bytes, list[Any]]:
        function = self._functions.get(frame.function)
        if function is None:
            function = pickling.load_function(self._code[frame.function])
            self._functions[frame.function] = function
        if frame.items:
            return self._chunk(function, frame)
        args, kwargs = (
            _from_files(frame)
            if frame.files
            else pickling.load_arguments(frame.data, frame.buffers)
        )
        value = function(*args, **kwargs)
        data, buffers = pickling.dump_value(value)
        return frames.OK, data, buffers

    @staticmethod
    def _chunk(
        function: Callable[..., Any], frame: frames.CallFrame
    ) -> tuple[int, bytes, list[Any]]:
        values: list[Any] = []
        errors: list[tuple[int, bytes]] = []
        keep = values.append
        items = (
            _from_files(frame) if frame.files else pickling.load_items(frame.data, frame.buffers)
        )
        for args in items:
            try:
                keep(function(*args))
            except Exception as error:  # noqa: BLE001  each element has an outcome of its own
                errors.append((len(values), _failure(error)))
                keep(None)
        data, buffers = pickling.dump_chunk_results(values, errors)
        return frames.OK, data, buffers


def _from_files(frame: frames.CallFrame) -> Any:
    files: dict[str, Any] = json.loads(frame.files)
    path: str = files["path"]
    payload = blobs.read(path) if path else (frame.data, list(map(bytearray, frame.buffers)))
    return pickling.load_files(payload, files["refs"])


def _failure(error: BaseException) -> bytes:
    if isinstance(error, MemoryError):
        # What the call had allocated is still held by its frames; without letting go of it,
        # describing the failure fails as well.
        with contextlib.suppress(Exception):
            traceback.clear_frames(error.__traceback__)
    return pickling.dump_error(error)


def _is_unfit(error: BaseException) -> bool:
    """Tell whether it was this machine that the call failed for, so that another may do."""
    if isinstance(error, (ImportError, MemoryError)):
        return True
    try:
        return isinstance(error, OSError) and error.errno in _LACKING
    except Exception:  # noqa: BLE001  a class of the user's may have an `errno` of its own
        return False
