"""The control plane's side of the zygote: has workers forked and killed, and hears them end."""

from __future__ import annotations

import array
import collections
import contextlib
import functools
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from gossamer_agent.handset import Handset
from gossamer_agent.hiding import NOTHING, Hiding
from gossamer_agent.worker import surroundings, veil

MESSAGE_BYTES: Final = 64 * 1024
RESTART_S: Final = 0.5
HIDDEN_S: Final = 10.0
"""A zygote says within some ms of its start whether secrets are hidden."""

DEATH_S: Final = 1.0
"""How long a process may take to end after SIGKILL before we go on without having seen it."""

_log = logging.getLogger("gossamer.agent")


class ZygoteProcess:
    """An exec'ed zygote and our end of its control socket. Started before the heavy imports.

    `hiding`: what it and its workers are not to see.
    """

    def __init__(self, preload: Sequence[str], hiding: Hiding = NOTHING) -> None:
        self._preload = preload
        self._hiding = hiding
        self.secrets = veil.OPEN
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        told = json.dumps(
            {"preload": list(preload), "hidden": hiding.hidden, "passing": hiding.passing}
        )
        command = [sys.executable, "-P", "-m", "gossamer_agent.worker", str(fd), told]
        try:
            self.process = subprocess.Popen(
                command, pass_fds=(fd,), stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self.sock = ours

    def hide(self) -> str:
        """See how far secrets are hidden, in `secrets` from then on; return why they are not.

        To be asked once, before the forker runs. Blocks until the zygote has said so.
        """
        if not self._hiding.hidden:
            return ""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        data = self.sock.recv(MESSAGE_BYTES) if poll.poll(HIDDEN_S * 1000) else b""
        if not data:
            return "the process that starts workers did not say that they are"
        word: dict[str, str] = json.loads(data)
        self.secrets = word["secrets"]
        return word["why"]

    def another(self) -> ZygoteProcess:
        """Start one like this. Blocks; `OSError` if it cannot be, or hides less than this one."""
        made = ZygoteProcess(self._preload, self._hiding)
        why = made.hide()
        if made.secrets != self.secrets:
            made.end()
            raise OSError(f"secrets would not be hidden any more: {why}")
        return made

    def end(self) -> None:
        """Close the control socket, which ends the zygote and its workers, and see it end."""
        self.sock.close()
        try:
            self.process.wait(DEATH_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Forker:
    """Keeps one zygote. `up` and `ended` are called in the control plane's thread.

    `results` may be set to the directories for large results, the best first.
    """

    def __init__(
        self,
        zygote: ZygoteProcess,
        *,
        directory: Path,
        output: int,
        agent: str,
        up: Callable[[Handset], None],
        ended: Callable[[int, str], None],
        failed: Callable[[str], None],
    ) -> None:
        self._zygote = zygote
        self._directory = directory
        self.results: Sequence[Path] = ()
        self._output = output
        self._agent = agent
        self._up = up
        self._ended = ended
        self._failed = failed
        self._numbers = 0
        self._outbox: collections.deque[tuple[bytes, Handset | None]] = collections.deque()
        self._coming: dict[int, Handset] = {}
        self._living: dict[int, int] = {}
        self._owed = 0
        self._there = True
        self._was_of_use = False
        self._stopping = False
        self._one_ended = trio.Event()

    async def run(self) -> None:
        """Hear the zygote until cancelled; when it dies, end its workers and start another."""
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    await self._listen(nursery)
                    if self._stopping:
                        return
                    _log.error("the zygote died; its workers are ended and another is started")
                    await self._zygote_died()
                    await self._start_another()
            finally:
                self.close()

    def spawn(self) -> None:
        """Ask for one more worker."""
        if not self._there:
            self._owed += 1
            return
        self._numbers += 1
        number = self._numbers
        try:
            hands = Handset(number)
        except OSError as error:
            self._failed(f"no worker can be started: {error}")
            return
        self._coming[number] = hands
        request = {
            "worker": number,
            "output": self._output,
            "agent": self._agent,
            "directory": str(self._place(number)),
            "results": [str(each) for each in self.results],
        }
        self._send(json.dumps(request).encode(), hands)

    def kill(self, number: int) -> None:
        """Kill a worker with all it has started. It is reported by `ended` when it is gone."""
        if number in self._living and self._there:
            self._send(json.dumps({"kill": number}).encode(), None)

    def kill_all(self) -> None:
        """Kill every worker at once: the agent goes."""
        self._stopping = True
        for number in list(self._living):
            self.kill(number)

    def close(self) -> None:
        """End the zygote and its workers. Blocks for at most a second or so."""
        self._stopping = True
        self._there = False
        self._zygote.end()
        self._give_up_coming()

    async def wait_ended(self) -> None:
        """Return when every worker is seen to have ended."""
        while self._living:
            self._one_ended = trio.Event()
            await self._one_ended.wait()

    @property
    def living(self) -> int:
        return len(self._living)

    # -- the zygote's socket -----------------------------------------------------------------

    async def _listen(self, nursery: trio.Nursery) -> None:
        sock = trio.socket.from_stdlib_socket(self._zygote.sock)
        with contextlib.suppress(OSError):
            while message := await sock.recv(MESSAGE_BYTES):
                self._hear(json.loads(message), nursery)
                self._flush()

    def _hear(self, message: dict[str, Any], nursery: trio.Nursery) -> None:
        number: int = message["worker"]
        if "pid" in message:
            self._was_of_use = True
            hands = self._coming.pop(number)
            hands.pid = message["pid"]
            self._living[number] = hands.pid
            self._up(hands)
        elif "failed" in message:
            self._coming.pop(number).discard()
            self._failed(f"no worker can be started: {message['failed']}")
        else:
            self._living.pop(number, None)
            self._one_ended.set()
            self._ended(number, _cause(message["ended"]))
            self._clear(number, nursery)

    def _send(self, data: bytes, hands: Handset | None) -> None:
        self._outbox.append((data, hands))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        """Send what the socket takes; after whatever the zygote says next, the rest."""
        while self._outbox:
            data, hands = self._outbox[0]
            fds = array.array("i", hands.theirs if hands else ())
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if hands else []
            try:
                self._zygote.sock.sendmsg([data], ancillary)
            except BlockingIOError:
                return
            except OSError:
                # The zygote is dead; `run` sees that too, and takes care of all.
                return
            self._outbox.popleft()
            if hands:
                hands.hand_over()

    # -- when the zygote dies ----------------------------------------------------------------

    async def _zygote_died(self) -> None:
        self._there = False
        self._zygote.end()
        # They are not lost by a fault of theirs: they are asked for again.
        self._owed += self._give_up_coming()
        for number, pid in list(self._living.items()):
            await _see_end(pid)
            del self._living[number]
            self._one_ended.set()
            self._ended(number, "the agent's zygote died")

    def _give_up_coming(self) -> int:
        for _, hands in self._outbox:
            if hands:
                hands.hand_over()
        self._outbox.clear()
        count = len(self._coming)
        for hands in self._coming.values():
            hands.discard()
        self._coming.clear()
        return count

    async def _start_another(self) -> None:
        if not self._was_of_use:
            while self._owed:
                self._owed -= 1
                self._failed("no worker can be started: the zygote dies at once")
        self._was_of_use = False
        while not self._there:
            await trio.sleep(RESTART_S)
            try:
                self._zygote = await trio.to_thread.run_sync(self._zygote.another)
            except OSError as error:
                _log.error("the zygote cannot be started: %s", error)
            else:
                self._there = True
        owed, self._owed = self._owed, 0
        for _ in range(owed):
            self.spawn()

    # -- directories -------------------------------------------------------------------------

    def _place(self, number: int) -> Path:
        return self._directory / f"worker-{number}"

    def _clear(self, number: int, nursery: trio.Nursery) -> None:
        place = self._place(number)
        try:
            place.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            # Its calls have left files, perhaps many.
            remove = functools.partial(shutil.rmtree, place, ignore_errors=True)
            nursery.start_soon(trio.to_thread.run_sync, remove)


async def _see_end(pid: int) -> None:
    """Kill a process that is not our child, with all below it, and see it end."""
    below = surroundings.children(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    surroundings.kill_all(below)
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with trio.move_on_after(DEATH_S):
            await trio.lowlevel.wait_readable(watched)
    finally:
        os.close(watched)


def _cause(status: int) -> str:
    """Say in words how a process ended, from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"its process was killed by {name}{hint}"
    return f"its process exited with status {os.WEXITSTATUS(status)}"
