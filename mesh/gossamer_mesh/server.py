"""The embedded nats-server: on loopback, with generated credentials, in a directory of its own.

Never adopts, signals or replaces a server that was not started from that directory.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import access as access_file
from gossamer_mesh import server_program
from gossamer_mesh.access import Access
from gossamer_mesh.errors import ServerError
from gossamer_mesh.lifeline import Lifeline
from gossamer_mesh.places import private_dir, write_private
from gossamer_mesh.process import Child, Process, spawn
from gossamer_mesh.server_program import LOG, Listening

_START_S: Final = 10.0
_STOP_S: Final = 5.0
_POLL_S: Final = 0.002


class _Ports(msgspec.Struct):
    """What nats-server writes into its ports file when it listens."""

    nats: tuple[str, ...]
    monitoring: tuple[str, ...] = ()


_process: Final = msgspec.json.Decoder(Process)
_ports: Final = msgspec.json.Decoder(_Ports)


class Server:
    """A running embedded server."""

    def __init__(
        self,
        directory: Path,
        process: Process,
        access: Access,
        child: Child | None = None,
        lifeline: Lifeline | None = None,
    ) -> None:
        """`child`, `lifeline`: what the process that started it holds; `load` has neither."""
        self.directory = directory
        self.process = process
        self.access = access
        self._child = child
        self._lifeline = lifeline
        self._owner = os.getpid()
        self.monitor_url = ""

    @classmethod
    def load(cls, directory: Path) -> Server | None:
        """Return the server that was started in `directory` and still runs, if there is one.

        One that is being started is waited for. A pid that by now is another process's is
        nobody's server. Changes nothing, so it needs no lock. `ServerError` when the server
        runs but does not listen.
        """
        process = _recorded(directory)
        credentials = directory / "access.json"
        # Without credentials it has never listened, and nobody could use it.
        if process is None or not process.alive() or not credentials.exists():
            return None
        server = cls(directory.absolute(), process, access_file.load(credentials))
        return server if server.wait_until_listening() else None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.access.url.rpartition(":")[2])

    @property
    def log(self) -> Path:
        return self.directory / LOG

    def alive(self) -> bool:
        return self.process.alive()

    def wait_until_listening(self) -> bool:
        """Put the port into `access` when the server accepts; False when it ended instead."""
        path = self.directory / f"{server_program.NAME}_{self.pid}.ports"
        deadline = time.monotonic() + _START_S
        while True:
            try:
                ports = _ports.decode(path.read_bytes())
            except (FileNotFoundError, ValueError):
                # Not there yet, or not written to its end yet.
                if not self.alive():
                    return False
            else:
                self.access = msgspec.structs.replace(self.access, url=ports.nats[0])
                self.monitor_url = next(iter(ports.monitoring), "")
                return True
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{server_program.NAME} (pid {self.pid}) runs but has not listened within "
                    f"{_START_S:.0f} s: see {self.log}",
                    pid=self.pid,
                )
            time.sleep(_POLL_S)

    def configure(self, config: bytes) -> None:
        """Have it go on with another configuration, as far as it can without a restart."""
        write_private(self.directory / "server.conf", config)
        self.process.signal(signal.SIGHUP)

    def stop(self) -> None:
        """End the server: SIGTERM, then SIGKILL after 5 s. Blocks; idempotent.

        Does nothing in a forked child of the process that started it.
        """
        if os.getpid() != self._owner:
            return
        self.process.end(_STOP_S)
        if self._child is not None:
            self._child.wait()
        if self._lifeline is not None:
            self._lifeline.close()
        if _recorded(self.directory) == self.process:
            (self.directory / "server.json").unlink(missing_ok=True)


def start(
    directory: Path,
    *,
    port: int = 0,
    lifeline: bool = False,
    monitor: bool = False,
    listening: Listening | None = None,
) -> Server:
    """Start a server that keeps its data in `directory`, and return it when it accepts.

    `port` 0 lets the kernel choose. A restart in the same directory keeps credentials, JetStream
    data, and the port if nobody has taken it: agents and clients that lost the server find it
    again. With `lifeline` the server ends with this process, however that ends; without, it
    outlives it and `Server.load` finds it again. With `monitor` it tells of its connections over
    HTTP, on loopback, to anyone: at `monitor_url`. `listening`: of a mesh that was made there
    already, and is reached by the address in its owner's access. `ServerError` when there is no
    nats-server, when it does not start, or when one already runs in `directory`. Two starts in one
    directory at one time are the caller's to exclude.
    """
    directory = private_dir(directory.absolute())
    _make_room(directory)
    credentials = directory / "access.json"
    # Slow to import, and of no use to who only looks for a server.
    from gossamer_mesh import founding  # noqa: PLC0415  see above

    authority = founding.authority(directory / "keys.json")
    access = founding.owner(credentials, authority)
    listen = listening or Listening(port=port or _free_port(access))
    config = founding.config(directory, authority, listen, monitor=monitor)

    def found(server: Server) -> None:
        if not listen.url:
            founding.buckets(server.access, authority)
        else:
            server.access = access
            founding.buckets(msgspec.structs.replace(access, url=listen.url), authority)
        server.access.save(credentials)

    return _started(directory, access, config, listen.port, found, lifeline=lifeline)


def start_leaf(directory: Path, access: Access, config: bytes, port: int) -> Server:
    """Start a site's server as it is configured, and return it when it accepts; as `start`.

    It ends with this process. `access`: as whom the site has joined.
    """
    directory = private_dir(directory.absolute())
    _make_room(directory)
    return _started(directory, access, config, port, lambda _: None, lifeline=True)


def _started(
    directory: Path,
    access: Access,
    config: bytes,
    port: int,
    listens: Callable[[Server], None],
    *,
    lifeline: bool,
) -> Server:
    program = server_program.find()
    path = directory / "server.conf"
    write_private(path, config)
    log = directory / LOG
    logged = log.stat().st_size if log.exists() else 0
    server = _spawn([str(program), "--config", str(path)], directory, access, lifeline=lifeline)
    try:
        server.process.save(directory / "server.json")
        heard = server.wait_until_listening()
        if heard:
            listens(server)
    except BaseException:
        server.stop()
        raise
    if not heard:
        server.stop()
        raise _failure(server, port, logged)
    return server


def _free_port(access: Access) -> int:
    """Return the port that the server had before, if it can have it again; else 0."""
    port = access.url.rpartition(":")[2]
    if not port.isdecimal():
        return 0
    with socket.socket() as probe:
        # What is left of connections of the server before does not keep it from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server_program.HOST, int(port)))
        except (OSError, OverflowError):
            return 0
    return int(port)


def _make_room(directory: Path) -> None:
    """Refuse a directory whose server runs; end one that was left half started there."""
    process = _recorded(directory)
    if Server.load(directory) is not None and process is not None:
        raise ServerError(
            f"a server (pid {process.pid}) already runs in {directory}: stop it first",
            pid=process.pid,
        )
    if process is not None:
        # Whoever started it did not live to see it listen.
        process.end(_STOP_S)
    for stale in directory.glob("*.ports"):
        stale.unlink(missing_ok=True)


def _spawn(command: list[str], directory: Path, access: Access, *, lifeline: bool) -> Server:
    log = directory / LOG
    if not lifeline:
        child = spawn(command, log=log, directory=directory)
        return Server(directory, child.identity(), access, child)
    line = Lifeline()
    try:
        child = spawn(
            [*server_program.WATCHED, *command], log=log, directory=directory, stdin=line.reader
        )
    except BaseException:
        line.close()
        raise
    line.handed_over()
    return Server(directory, child.identity(), access, child, line)


def _recorded(directory: Path) -> Process | None:
    record = directory / "server.json"
    try:
        return _process.decode(record.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ServerError(
            f"{record} does not tell which server runs here ({error}): end that server if it "
            "runs, then remove the file",
            path=str(record),
        ) from error


def _failure(server: Server, port: int, logged: int) -> ServerError:
    """Return what the server said when it did not start."""
    with server.log.open("rb") as log:
        log.seek(logged)
        said = log.read().decode(errors="replace").splitlines()
    if any("address already in use" in line for line in said):
        return ServerError(
            f"port {port} is taken, perhaps by a server that was not started here: "
            "stop that one, or choose another port",
            port=port,
        )
    # nats-server puts its pid, the time and a level before what it says.
    last = said[-1].rpartition("[FTL]")[2].strip() if said else "it said nothing"
    return ServerError(f"{server_program.NAME} did not start ({last}): see {server.log}", said=last)
