"""The direct way between real sockets: who is awaited is let in, and nobody else does any harm."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from gossamer_mesh.blob import Held, Store, handshake, shipping
from gossamer_mesh.blob.berth import PIECE_BYTES, Berth, FullError
from gossamer_mesh.blob.chunk import CHUNK_BYTES
from gossamer_mesh.blob.landing import MOST_GUESTS, Landing
from gossamer_mesh.blob.shipping import MOST_SHIPPED, Order, Shipping
from gossamer_mesh.complaints import FIRST

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
MiB = 2**20
SOON_S = 20.0


def until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not seen():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.005)


class Asker:
    """A landing with one berth, and what it has told."""

    def __init__(self, folder: Path, size: int, offset: int = 0, *, wait_s: float = SOON_S) -> None:
        self.landing = Landing(guest_s=wait_s)
        self.ticket = secrets.token_bytes(32)
        self.path = folder / secrets.token_hex(4)
        self.size = size
        self.hasher = blake3()
        self.told: list[int] = []
        self.problems: list[OSError | None] = []
        self.ended = threading.Event()
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT)
        span = offset, size
        update, told = self.hasher.update, self.told.append
        self.berth = Berth(self.ticket, fd, span, update, told, self._end, stuck_s=wait_s)
        # Its own copy must do.
        os.close(fd)
        self.port = self.landing.expect(HOST, self.berth)

    def _end(self, problem: OSError | None) -> None:
        self.problems.append(problem)
        self.ended.set()

    def problem(self) -> OSError | None:
        assert self.ended.wait(SOON_S)
        assert len(self.problems) == 1
        return self.problems[0]

    def guest(self, said: bytes = b"") -> socket.socket:
        sock = socket.create_connection((HOST, self.port), SOON_S)
        sock.settimeout(SOON_S)
        sock.sendall(said)
        return sock

    def holder(self) -> socket.socket:
        """One that has the ticket and has been told so."""
        sock = self.guest(handshake.hello(self.ticket))
        assert sock.recv(100) == handshake.answer(self.ticket)
        return sock

    @property
    def reachable(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), SOON_S).close()
        except ConnectionRefusedError:
            return False
        return True


def shown_out(sock: socket.socket) -> bool:
    with sock:
        try:
            return sock.recv(100) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Callable[..., Asker]]:
    made: list[Asker] = []

    def make(size: int = 3 * MiB, offset: int = 0, *, wait_s: float = SOON_S) -> Asker:
        made.append(Asker(tmp_path, size, offset, wait_s=wait_s))
        return made[-1]

    yield make
    for each in made:
        each.landing.close()
        until(lambda each=each: not each.landing.is_open)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store("ann", [tmp_path])
    yield made
    made.close()


@pytest.fixture
def ships() -> Iterator[Shipping]:
    made = Shipping()
    yield made
    made.close()


def order(held: Held, one: Asker, offset: int = 0) -> Order:
    return Order(held, offset, (HOST,), one.port, one.ticket)


# -- what is awaited -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, 3 * PIECE_BYTES, 9 * MiB + 17])
def test_what_is_awaited_comes_as_it_is_and_then_no_port_is_open(asker, store, ships, size):
    held = store.add(b"p", [os.urandom(size)])
    one = asker(held.size)
    sent: list[int] = []
    assert ships.ship(order(held, one), lambda more: sent.append(more) is None, pytest.fail)
    assert one.problem() is None
    assert one.hasher.digest() == held.digest
    assert one.path.read_bytes() == held.path.read_bytes()
    assert one.told[-1] == held.size
    assert sum(sent) == held.size
    until(lambda: not one.landing.is_open)
    until(lambda: not one.reachable)


def test_what_is_here_is_not_sent_again(asker, store, ships):
    held = store.add(b"p", [os.urandom(5 * MiB)])
    one = asker(held.size, 2 * MiB)
    one.hasher.update(held.path.read_bytes()[: 2 * MiB])
    sent: list[int] = []
    assert ships.ship(
        order(held, one, 2 * MiB), lambda more: sent.append(more) is None, pytest.fail
    )
    assert one.problem() is None
    assert one.hasher.digest() == held.digest
    assert sum(sent) == held.size - 2 * MiB


def test_several_are_awaited_at_one_port(asker, store, ships, tmp_path):
    held = store.add(b"p", [os.urandom(2 * MiB)])
    one = asker(held.size)
    other = Asker(tmp_path, held.size)
    other.landing.close()
    other.landing = one.landing
    fd = os.open(other.path, os.O_RDWR)
    span = 0, held.size
    other.berth = Berth(other.ticket, fd, span, other.hasher.update, other.told.append, other._end)
    os.close(fd)
    assert one.landing.expect(HOST, other.berth) == one.port
    other.port = one.port
    for each in (other, one):
        assert ships.ship(order(held, each), lambda _: True, pytest.fail)
    assert (one.problem(), other.problem()) == (None, None)
    assert one.hasher.digest() == other.hasher.digest() == held.digest


def test_who_is_awaited_no_more_finds_no_port(asker):
    one = asker()
    assert one.landing.withdraw(one.berth)
    assert not one.landing.withdraw(one.berth)
    until(lambda: not one.reachable)
    assert not one.ended.is_set()


# -- what breaks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(0, 0), (100, 0), (PIECE_BYTES + 7, PIECE_BYTES), (CHUNK_BYTES + 7, CHUNK_BYTES)],
)
def test_of_what_breaks_off_whole_chunks_are_kept(asker, sent, kept):
    one = asker()
    content = os.urandom(sent)
    with one.holder() as sock:
        sock.sendall(content)
    assert isinstance(one.problem(), ConnectionError)
    assert one.path.read_bytes() == content[:kept]
    assert one.hasher.digest() == blake3(content[:kept]).digest()
    assert one.told == [kept]


def test_a_holder_that_is_stuck_is_given_up(asker):
    one = asker(wait_s=0.2)
    with one.holder() as sock:
        sock.sendall(bytes(PIECE_BYTES))
        assert isinstance(one.problem(), TimeoutError)
        assert one.told[-1] == PIECE_BYTES


def test_an_asker_that_takes_nothing_is_given_up(store):
    ships = Shipping(stuck_s=0.2)
    held = store.add(b"p", [os.urandom(16 * MiB)])
    ticket = secrets.token_bytes(32)
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        told = Order(held, 0, (HOST,), port, ticket)
        assert ships.ship(told, lambda _: True, pytest.fail)
        sock, _ = listener.accept()
        with sock:
            assert sock.recv(100) == handshake.hello(ticket)
            sock.sendall(handshake.answer(ticket))
            until(lambda: not ships.under_way)


def test_what_cannot_be_written_is_told_apart_from_what_does_not_come(asker, tmp_path):
    one = asker()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, one.berth._fd)
    os.close(full)
    with one.holder() as sock:
        sock.sendall(bytes(PIECE_BYTES))
        assert isinstance(one.problem(), FullError)


def test_who_may_not_have_it_any_more_is_sent_no_more(asker, store, ships):
    held = store.add(b"p", [os.urandom(32 * MiB)])
    one = asker(held.size)
    assert ships.ship(order(held, one), lambda _: False, pytest.fail)
    assert isinstance(one.problem(), ConnectionError)
    assert one.told[-1] <= shipping.PIECE_BYTES


def test_closing_ends_what_is_under_way_at_both_ends(asker, store):
    ours, theirs = asker(), asker()
    with ours.holder() as sock:
        sock.sendall(bytes(100))
        ours.landing.close()
        assert isinstance(ours.problem(), OSError)
    ships = Shipping()
    held = store.add(b"p", [os.urandom(3 * MiB)])
    begun, go = threading.Event(), threading.Event()

    def sent(_: int) -> bool:
        begun.set()
        return go.wait(SOON_S)

    assert ships.ship(order(held, theirs), sent, pytest.fail)
    assert begun.wait(SOON_S)
    ships.close()
    go.set()
    until(lambda: not ships.under_way)
    assert not ships.ship(order(held, theirs), lambda _: True, pytest.fail)
    with pytest.raises(OSError, match="closed"):
        ours.landing.expect(HOST, ours.berth)


# -- who is not who ------------------------------------------------------------------------------


def spoilt(hello: bytes) -> bytes:
    return hello[:-1] + bytes([hello[-1] ^ 1])


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        os.urandom(4096),
        handshake.MAGIC + bytes(32),
        handshake.hello(bytes(32)),
        handshake.answer(bytes(32)),
    ],
)
def test_who_says_something_else_is_shown_out_and_the_holder_let_in(asker, said):
    one = asker()
    assert shown_out(one.guest(said))
    assert shown_out(one.guest(spoilt(handshake.hello(one.ticket))))
    one.holder().close()
    assert isinstance(one.problem(), ConnectionError)


def test_who_says_half_of_it_is_shown_out_in_time(asker):
    one = asker(wait_s=1.0)
    silent, half = one.guest(), one.guest(handshake.hello(one.ticket)[:20])
    assert shown_out(silent)
    assert shown_out(half)
    one.holder().close()


def test_a_word_in_pieces_is_a_word(asker):
    one = asker()
    with one.guest() as sock:
        for byte in handshake.hello(one.ticket):
            sock.sendall(bytes([byte]))
        assert sock.recv(100) == handshake.answer(one.ticket)


def test_a_crowd_does_not_keep_the_holder_out(asker):
    one = asker()
    crowd = [one.guest() for _ in range(3 * MOST_GUESTS)]
    one.holder().close()
    assert isinstance(one.problem(), ConnectionError)
    for each in crowd:
        each.close()


def test_a_ticket_is_for_one_connection(asker):
    one, two = asker(), asker()
    # Another one is awaited, so that the port stays open.
    fd = os.open(one.path, os.O_RDWR)
    span = 0, 1
    last = Berth(two.ticket, fd, span, two.hasher.update, two.told.append, two._end)
    os.close(fd)
    one.landing.expect(HOST, last)
    with one.holder():
        assert shown_out(one.guest(handshake.hello(one.ticket)))


def test_a_stranger_who_listens_there_is_sent_nothing(store, ships, caplog):
    held = store.add(b"p", [os.urandom(MiB)])
    ticket = secrets.token_bytes(32)
    words = (b"", b"x", bytes(32), handshake.hello(ticket), handshake.answer(bytes(32)))
    for says in words * 2:
        apart = threading.Event()
        with socket.create_server((HOST, 0)) as listener:
            port = listener.getsockname()[1]
            told = Order(held, 0, (HOST,), port, ticket)
            assert ships.ship(told, lambda _: pytest.fail("something was sent"), apart.set)
            sock, _ = listener.accept()
            with sock:
                heard = sock.recv(100)
                sock.sendall(says)
                # Who has heard enough may have gone by now.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                assert apart.wait(SOON_S)
                assert heard == handshake.hello(ticket)
                assert ticket not in heard
                assert shown_out(sock)
    assert len(caplog.records) == FIRST, "the first are told, not each"


def test_where_nobody_listens_it_is_said_at_once(store, ships):
    held = store.add(b"p", [os.urandom(MiB)])
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    apart = threading.Event()
    assert ships.ship(Order(held, 0, (HOST,), port, bytes(32)), lambda _: True, apart.set)
    assert apart.wait(SOON_S)


def test_no_more_are_shipped_at_once_than_there_may_be(store, ships):
    held = store.add(b"p", [os.urandom(MiB)])
    with socket.create_server((HOST, 0), backlog=2 * MOST_SHIPPED) as listener:
        told = Order(held, 0, (HOST,), listener.getsockname()[1], bytes(32))
        begun = [ships.ship(told, lambda _: True, lambda: None) for _ in range(MOST_SHIPPED + 2)]
        assert begun == [True] * MOST_SHIPPED + [False] * 2
    until(lambda: not ships.under_way)
