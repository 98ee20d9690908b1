"""Large payloads over connections of their own: between depots, and between whole processes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

import gossamer
from gossamer_mesh import server, subjects, wire
from gossamer_mesh.access import Access
from gossamer_mesh.blob import SHARED_MEMORY, Depot, Held, Store, chunk, handshake
from gossamer_mesh.blob.berth import PIECE_BYTES
from gossamer_mesh.blob.seal import MORE_BYTES, Seal
from gossamer_mesh.blob.shipping import MOST_SHIPPED
from gossamer_mesh.blob.ways import LEAST_BYTES
from gossamer_mesh.complaints import FIRST
from gossamer_mesh.errors import MeshError
from gossamer_mesh.link import Message, Way
from gossamer_mesh.link.nats import NatsLink
from gossamer_mesh.wire import Blob
from testbed.anybody import anybody
from tests.integration.conftest import Fleet

pytestmark = pytest.mark.integration

MiB = 2**20
SOON_S = 30.0


def until(seen: Callable[[], object], within_s: float = SOON_S) -> None:
    deadline = time.monotonic() + within_s
    while not seen():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


class Party:
    """A depot with links of its own, that counts what comes in chunks."""

    def __init__(
        self,
        access: Access,
        name: str,
        folder: Path,
        kind: type[NatsLink],
        *,
        direct: bool,
        share: bool,
    ) -> None:
        self.name = name
        self.link = kind.connect(access, name=name)
        self.store = Store(name, [folder], keeps=True)
        bulk = functools.partial(kind.connect, access, name=f"{name}-bulk")
        self.depot = Depot(self.link, name, self.store, bulk, share=share, direct=direct)
        self.chunks: list[chunk.Chunk] = []
        self.link.subscribe(subjects.all_chunks(name), self._count)
        self.kept: list[Held] = []

    def ask(self, what: wire.Bring) -> None:
        self.link.publish(subjects.blob("ann", self.name), wire.encode(what))

    def _count(self, message: Message) -> None:
        found = chunk.parse(message.payload)
        if found.fetch:
            self.chunks.append(found._replace(data=memoryview(b"")))

    def by_chunks(self) -> int:
        return sum(each.kind == chunk.DATA for each in self.chunks)

    def words(self) -> set[int]:
        return {each.kind for each in self.chunks} - {chunk.DATA}

    def offer(self, content: bytes, *askers: str) -> tuple[Held, Blob]:
        held = self.store.add(b"pickle", [content])
        self.kept.append(held)
        for asker in askers:
            self.depot.allow(held.digest, asker)
        return held, self.depot.card(held)

    def fetch(self, blob: Blob) -> Coming:
        coming = Coming()
        self.link.post(lambda: self.depot.fetch(blob, coming.come))
        return coming

    def close(self) -> None:
        self.depot.close()
        self.link.close()


def bring(held: Held, listener: socket.socket, fetch: int = 1, offset: int = 0) -> wire.Bring:
    host, port = listener.getsockname()
    return wire.Bring(fetch, held.digest, offset, (host,), port, bytes(32))


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno >= logging.WARNING]


class Astray(NatsLink):
    """One whose address on the way to the server is none of this machine's, as behind a proxy."""

    @property
    def way(self) -> Way | None:
        return Way("192.0.2.1", encrypted=False)


class Secretly(NatsLink):
    """One that reaches the server encrypted, as far as it tells."""

    @property
    def way(self) -> Way | None:
        return Way("127.0.0.1", encrypted=True)


class Holder:
    """One that a test plays: it has a blob for bob, and sends chunks of it by itself."""

    def __init__(self, access: Access, name: str, content: bytes) -> None:
        self.content = content
        self.blob = Blob(blake3(content).digest(), len(content), name)
        self.brings: queue.SimpleQueue[wire.Bring] = queue.SimpleQueue()
        self.asks: list[wire.Ask] = []
        self.last = wire.Bring(0, b"", 0, (), 0, b"")
        self.link = NatsLink.connect(access, name=name)
        self.link.subscribe(subjects.all_blobs(name), self._asked)

    def _asked(self, message: Message) -> None:
        asked = wire.decode_asked(message.payload)
        if isinstance(asked, wire.Bring):
            self.brings.put(asked)
        elif isinstance(asked, wire.Ask):
            self.asks.append(asked)
            for offset in range(asked.offset, asked.offset + asked.length, chunk.CHUNK_BYTES):
                data = self.content[offset : offset + chunk.CHUNK_BYTES]
                made = chunk.frame(asked.fetch, offset, len(data))
                made[chunk.HEAD_BYTES :] = data
                self.say(made)

    def say(self, message: bytes | bytearray) -> None:
        self.link.publish(subjects.chunks("bob", self.blob.holder), message)

    def connected(self) -> socket.socket:
        """Come as it was asked to, and be known."""
        self.last = self.brings.get(timeout=SOON_S)
        sock = socket.create_connection((self.last.hosts[0], self.last.port), SOON_S)
        sock.sendall(handshake.hello(self.last.ticket))
        assert sock.recv(100) == handshake.answer(self.last.ticket)
        return sock

    def close(self) -> None:
        self.link.close()


class Coming:
    """What becomes of a fetch."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._outcome: Held | MeshError | None = None

    def come(self, outcome: Held | MeshError) -> None:
        self._outcome = outcome
        self._ended.set()

    def outcome(self) -> Held | MeshError:
        assert self._ended.wait(SOON_S)
        assert self._outcome is not None
        return self._outcome

    def content(self) -> bytes:
        held = self.outcome()
        assert isinstance(held, Held), held
        return bytes(held.read()[1][0])

    def file(self) -> bytes:
        held = self.outcome()
        assert isinstance(held, Held), held
        return held.path.read_bytes()


class Ground:
    """A server, and who is on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = server.start(folder / "server", lifeline=True)
        # Its parties have names of their own choice.
        self.access = anybody(folder / "server" / "access.json")
        self.parties: list[Party | Holder] = []

    def party(self, name: str, kind: type[NatsLink] = NatsLink, *, direct: bool = True) -> Party:
        made = Party(self.access, name, self.folder, kind, direct=direct, share=False)
        self.parties.append(made)
        return made

    def sharing(self, name: str, folder: Path) -> Party:
        """One that lets others on this machine have its files."""
        access = self.access
        made = Party(access, name, folder, NatsLink, direct=True, share=True)
        self.parties.append(made)
        return made

    def holder(self, name: str, content: bytes) -> Holder:
        made = Holder(self.access, name, content)
        self.parties.append(made)
        return made

    def restart_server(self) -> None:
        self.server.stop()
        self.server = server.start(self.folder / "server", port=self.server.port, lifeline=True)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    for party in made.parties:
        party.close()
    made.server.stop()


def listening(pid: int | str = "self") -> set[str]:
    """The ports at which a process waits for connections."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    waiting = {f"socket:[{line[9]}]": line[1] for line in lines if line[3] == "0A"}
    found: set[str] = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(waiting.get(str(fd.readlink()), ""))
    return found - {""}


# -- it works ------------------------------------------------------------------------------------


def test_what_is_large_comes_directly_and_what_is_small_in_chunks(ground: Ground) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    for size in (LEAST_BYTES, 9 * MiB + 5, 40 * MiB):
        content = os.urandom(size)
        held, blob = ann.offer(content, "bob")
        before = bob.depot.fetched_bytes
        assert bob.fetch(blob).content() == content
        assert bob.by_chunks() == 0
        assert bob.depot.fetched_bytes - before == held.size
        until(lambda held=held: ann.depot.sent_to(held.digest, "bob") == held.size)
    small = os.urandom(MiB)
    assert bob.fetch(ann.offer(small, "bob")[1]).content() == small
    assert bob.by_chunks() == 3


def test_several_come_at_once_and_then_no_port_is_open(ground: Ground) -> None:
    before = listening()
    ann, bob, eve = ground.party("ann"), ground.party("bob"), ground.party("eve")
    contents = [os.urandom(6 * MiB + more) for more in range(3)]
    coming = [(bob.fetch(ann.offer(content, "bob")[1]), content) for content in contents] + [
        (eve.fetch(bob.offer(content, "eve")[1]), content) for content in contents
    ]
    for each, content in coming:
        assert each.content() == content
    assert bob.by_chunks() == eve.by_chunks() == 0
    until(lambda: listening() == before)


def test_a_server_that_is_away_does_not_stop_what_is_brought(ground: Ground) -> None:
    bob, ann = ground.party("bob"), ground.holder("ann", os.urandom(24 * MiB))
    coming = bob.fetch(ann.blob)
    with ann.connected() as sock:
        sock.sendall(ann.content[: 12 * MiB])
        until(lambda: bob.depot.fetched_bytes > 8 * MiB)
        ground.server.stop()
        until(lambda: bob.link.way is None)
        sock.sendall(ann.content[12 * MiB :])
        until(lambda: bob.depot.fetched_bytes == len(ann.content))
        ground.restart_server()
    assert coming.file() == ann.content
    assert not ann.asks


# -- encrypted -----------------------------------------------------------------------------------


def test_between_who_reach_the_server_encrypted_it_comes_sealed(ground: Ground) -> None:
    ann, bob = ground.party("ann", Secretly), ground.party("bob", Secretly)
    for size in (LEAST_BYTES, 9 * MiB + 5):
        content = os.urandom(size)
        assert bob.fetch(ann.offer(content, "bob")[1]).content() == content
    assert bob.by_chunks() == 0


def test_what_is_sealed_cannot_be_read_on_the_way(ground: Ground) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    content = b"known to who looks on" * 300_000
    held, _ = ann.offer(content, "bob")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bob.ask(msgspec.structs.replace(bring(held, listener), sealed=True))
        sock, _ = listener.accept()
        with sock:
            assert sock.recv(100) == handshake.hello(bytes(32))
            sock.sendall(handshake.answer(bytes(32)))
            seen = b"".join(iter(lambda: sock.recv(MiB), b""))
    assert b"known to who looks on" not in seen
    pieces = -(-held.size // PIECE_BYTES)
    assert len(seen) == held.size + pieces * MORE_BYTES
    seal, opened = Seal(bytes(32)), b""
    for start in range(0, len(seen), PIECE_BYTES + MORE_BYTES):
        opened += seal.open(seen[start : start + PIECE_BYTES + MORE_BYTES])
    assert opened == held.path.read_bytes()


@pytest.mark.parametrize("altered", ["a bit", "the order", "nothing is sealed"])
def test_what_was_altered_on_the_way_is_not_taken(ground: Ground, altered: str) -> None:
    bob, ann = ground.party("bob", Secretly), ground.holder("ann", os.urandom(9 * MiB + 3))
    coming = bob.fetch(ann.blob)
    with ann.connected() as sock, contextlib.suppress(OSError):
        assert ann.last.sealed
        seal = Seal(ann.last.ticket)
        pieces = [
            seal.close(ann.content[start : start + PIECE_BYTES])
            for start in range(0, len(ann.content), PIECE_BYTES)
        ]
        if altered == "a bit":
            pieces[1] = pieces[1][:-1] + bytes([pieces[1][-1] ^ 1])
        elif altered == "the order":
            pieces[1], pieces[2] = pieces[2], pieces[1]
        else:
            pieces = [ann.content]
        for piece in pieces:
            sock.sendall(piece)
    # What was right is kept; the rest is asked for through the server.
    assert coming.file() == ann.content
    assert ann.asks


def test_who_reaches_the_server_encrypted_brings_nothing_in_the_clear(ground: Ground) -> None:
    ann, bob = ground.party("ann", Secretly), ground.party("bob")
    content = os.urandom(9 * MiB)
    assert bob.fetch(ann.offer(content, "bob")[1]).content() == content
    assert bob.by_chunks() == 19
    assert chunk.APART in bob.words()


# -- it does not, and all arrives the same -------------------------------------------------------


def test_who_has_no_address_to_listen_at_asks_for_chunks(ground: Ground) -> None:
    bob, ann = ground.party("bob", Astray), ground.holder("ann", os.urandom(9 * MiB + 3))
    assert bob.fetch(ann.blob).file() == ann.content
    assert ann.brings.empty()


@pytest.mark.parametrize("kind", [chunk.APART, chunk.BUSY])
def test_where_it_cannot_be_brought_it_comes_in_chunks_at_once(ground: Ground, kind: int) -> None:
    bob, ann = ground.party("bob"), ground.holder("ann", os.urandom(9 * MiB + 3))
    before = listening()
    coming = bob.fetch(ann.blob)
    bring = ann.brings.get(timeout=SOON_S)
    ann.say(chunk.word(kind, bring.fetch))
    assert coming.file() == ann.content
    until(lambda: listening() == before)
    held = coming.outcome()
    assert isinstance(held, Held)
    held.release()
    bob.store.forget("ann")
    coming = bob.fetch(ann.blob)
    if kind == chunk.BUSY:
        ann.say(chunk.word(kind, ann.brings.get(timeout=SOON_S).fetch))
    assert coming.file() == ann.content
    assert ann.brings.empty(), "what cannot be is not tried again so soon"


def test_a_holder_that_does_not_come_is_asked_for_chunks_in_time(ground: Ground) -> None:
    bob, ann = ground.party("bob"), ground.holder("ann", os.urandom(9 * MiB + 3))
    before = listening()
    coming = bob.fetch(ann.blob)
    bring = ann.brings.get(timeout=SOON_S)
    with socket.create_connection((bring.hosts[0], bring.port)) as stranger:
        stranger.sendall(b"hello? " + bring.ticket)
        assert coming.file() == ann.content
    until(lambda: listening() == before)


def test_what_breaks_off_goes_on_in_chunks_without_a_gap(ground: Ground) -> None:
    bob, ann = ground.party("bob"), ground.holder("ann", os.urandom(24 * MiB + 3))
    coming = bob.fetch(ann.blob)
    with ann.connected() as sock:
        sock.sendall(ann.content[: 10 * MiB + 100])
    assert coming.file() == ann.content
    assert ann.asks[0].offset == 10 * MiB
    assert sum(ask.length for ask in ann.asks) == 14 * MiB + 3


def test_what_is_gone_ends_what_is_brought(ground: Ground) -> None:
    bob, ann = ground.party("bob"), ground.holder("ann", os.urandom(24 * MiB))
    coming = bob.fetch(ann.blob)
    with ann.connected() as sock:
        sock.sendall(ann.content[: 9 * MiB])
        ann.say(chunk.word(chunk.GONE, ann.last.fetch))
        assert "no more" in str(coming.outcome())
        with pytest.raises(OSError, match=r"reset|Broken"):
            sock.sendall(ann.content)


def test_chunks_that_nobody_asked_for_change_nothing_meanwhile(ground: Ground) -> None:
    bob, ann = ground.party("bob"), ground.holder("ann", os.urandom(9 * MiB))
    coming = bob.fetch(ann.blob)
    with ann.connected() as sock:
        for offset in range(0, 9 * MiB, chunk.CHUNK_BYTES):
            ann.say(chunk.frame(ann.last.fetch, offset, chunk.CHUNK_BYTES))
        sock.sendall(ann.content)
        assert coming.file() == ann.content


@pytest.mark.parametrize("who", ["ann", "bob"])
def test_who_is_told_not_to_uses_chunks(ground: Ground, who: str) -> None:
    ann, bob = ground.party("ann", direct=who != "ann"), ground.party("bob", direct=who != "bob")
    before = listening()
    content = os.urandom(9 * MiB)
    assert bob.fetch(ann.offer(content, "bob")[1]).content() == content
    assert bob.by_chunks() == 19
    until(lambda: listening() == before)


def test_a_holder_that_brings_something_else_is_found_out(ground: Ground) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    held, blob = ann.offer(os.urandom(9 * MiB), "bob")
    with held.path.open("r+b") as file:
        file.seek(5 * MiB)
        file.write(b"forged")
    assert "is not the payload" in str(bob.fetch(blob).outcome())


def test_a_file_that_was_cut_short_is_given_up(ground: Ground) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    held, blob = ann.offer(os.urandom(9 * MiB), "bob")
    os.truncate(held.path, 6 * MiB)
    assert "no more" in str(bob.fetch(blob).outcome())


def test_who_asks_for_too_much_at_once_is_told_so(ground: Ground) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    held, _ = ann.offer(os.urandom(9 * MiB), "bob")
    with socket.create_server(("127.0.0.1", 0), backlog=2 * MOST_SHIPPED) as listener:
        # Who listens here never answers.
        for number in range(MOST_SHIPPED + 1):
            bob.ask(bring(held, listener, fetch=number + 1))
        until(bob.words)
        assert [each.fetch for each in bob.chunks if each.kind == chunk.BUSY] == [number + 1]


def test_more_than_can_be_brought_at_once_comes_all_the_same(ground: Ground) -> None:
    ann, bob, eve = ground.party("ann"), ground.party("bob"), ground.party("eve")
    contents = [os.urandom(4 * MiB + more) for more in range(MOST_SHIPPED + 2)]
    coming = []
    for content in contents:
        _, blob = ann.offer(content, "bob", "eve")
        coming += [bob.fetch(blob), eve.fetch(blob)]
    for number, each in enumerate(coming):
        assert each.content() == contents[number // 2]


# -- who may not ---------------------------------------------------------------------------------


def test_nothing_is_brought_to_who_may_not_have_it(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    ann, eve = ground.party("ann"), ground.party("eve")
    held, _ = ann.offer(os.urandom(9 * MiB), "bob")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(20):
            eve.ask(bring(held, listener))
        until(lambda: ann.depot.refused == 20)
        listener.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert eve.words() == set()
    assert len(warnings(caplog)) == FIRST, "the first, not each"


@pytest.mark.parametrize("offset", [-1, 2**40])
def test_nothing_is_brought_from_where_there_is_nothing(ground: Ground, offset: int) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    held, _ = ann.offer(os.urandom(9 * MiB), "bob")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bob.ask(bring(held, listener, offset=offset))
        until(lambda: ann.depot.refused)


@pytest.mark.parametrize("host", ["192.0.2.1", "localhost", "0.0.0.0"])  # noqa: S104  refused
def test_who_cannot_be_reached_is_told_so(ground: Ground, host: str) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    held, _ = ann.offer(os.urandom(9 * MiB), "bob")
    bob.ask(wire.Bring(7, held.digest, 0, (host,), 40_000, bytes(32)))
    until(lambda: bob.words() == {chunk.APART})


def test_who_may_have_it_no_more_is_brought_no_more_and_is_no_intruder(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    ann, bob = ground.party("ann"), ground.party("bob")
    held, _ = ann.offer(os.urandom(64 * MiB), "bob")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wanted = bring(held, listener)
        bob.ask(wanted)
        sock, _ = listener.accept()
        with sock:
            sock.sendall(handshake.answer(wanted.ticket))
            got = len(sock.recv(MiB))
            ann.depot.withdraw(held.digest, "bob")
            while more := len(sock.recv(MiB)):
                got += more
    assert got < held.size
    bob.ask(wanted)
    until(lambda: ann.depot.refused)
    assert not warnings(caplog)


# -- on one machine ------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", ["memory", "disk"])
def test_what_lies_on_another_device_of_this_machine_is_copied(
    ground: Ground, tmp_path: Path, holder: str
) -> None:
    if SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second device: temporary files are in /dev/shm")
    places = (SHARED_MEMORY, tmp_path)[:: 1 if holder == "memory" else -1]
    ann, bob = ground.sharing("ann", places[0]), ground.sharing("bob", places[1])
    content = os.urandom(9 * MiB)
    held, blob = ann.offer(content, "bob")
    assert bob.fetch(blob).content() == content
    assert (bob.depot.linked_bytes, bob.depot.fetched_bytes) == (held.size, 0)
    # What cannot be copied is had as from afar.
    other, blob = ann.offer(content[1:], "bob")
    other.path.rename(other.path.with_name("away"))
    assert "no more" in str(bob.fetch(blob).outcome())
    assert bob.store.total_bytes == held.size


# -- whole processes -----------------------------------------------------------------------------


def digest_of(value):
    return hashlib.sha256(value).hexdigest()


def echo(value):
    return value


@pytest.mark.parametrize("way", ["both", "agent", "client"])
def test_arguments_and_results_come_as_they_went_whoever_wants_no_direct_way(
    fleet: Fleet, way: str
) -> None:
    told = "work.slots = 1\ncache.share = false\n"
    fleet.add("a", told + ("cache.direct = false" if way == "client" else ""))
    with gossamer.connect(fleet.access, direct=way != "agent") as mesh:
        data = os.urandom(24 * MiB)
        assert mesh.submit(digest_of, data).result(50) == hashlib.sha256(data).hexdigest()
        assert mesh.submit(echo, data).result(50) == data
        until(lambda: not listening() | listening(fleet.agents["a"].pid))
