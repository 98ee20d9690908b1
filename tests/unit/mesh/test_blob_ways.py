"""Which blobs come over a connection of their own, and where a holder may connect to."""

from __future__ import annotations

import msgspec
import pytest

from gossamer_mesh.blob.ways import AGAIN_S, LEAST_BYTES, MOST_RECEIVED, Ways, addresses
from gossamer_mesh.link import Way
from gossamer_mesh.wire import Bring

LAN = Way("192.168.1.5", encrypted=False)
LOOPBACK = Way("127.0.0.1", encrypted=False)


def bring(*hosts: str, port: int = 40_000, ticket: bytes = bytes(32)) -> Bring:
    return Bring(1, bytes(32), 0, hosts, port, ticket)


def test_only_what_is_large_is_brought():
    ways = Ways()
    assert ways.direct("ann", LEAST_BYTES, 0.0)
    assert not ways.direct("ann", LEAST_BYTES - 1, 0.0)


def test_a_holder_that_could_not_is_not_asked_to_for_a_while():
    ways = Ways()
    ways.failed("ann", 10.0)
    assert not ways.direct("ann", LEAST_BYTES, 10.0 + AGAIN_S - 1.0)
    assert ways.direct("ann", LEAST_BYTES, 10.0 + AGAIN_S)
    assert ways.direct("bob", LEAST_BYTES, 10.0)


def test_so_many_are_received_at_once():
    ways = Ways()
    ways.under_way = MOST_RECEIVED
    assert not ways.direct("ann", LEAST_BYTES, 0.0)


def test_a_holder_that_speaks_encrypted_brings_only_what_is_to_be_sealed():
    asked = bring("10.1.2.3")
    secretly = Way("192.168.1.5", encrypted=True)
    assert addresses(asked, secretly) == []
    assert addresses(msgspec.structs.replace(asked, sealed=True), secretly) == ["10.1.2.3"]
    assert addresses(msgspec.structs.replace(asked, sealed=True), LAN) == ["10.1.2.3"]


@pytest.mark.parametrize("host", ["192.168.1.9", "10.1.2.3", "2001:db8::7", "8.8.8.8"])
def test_a_holder_connects_to_an_address(host):
    assert addresses(bring(host), LAN) == [host]


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "example.org", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "1.2.3.4.5", "\0"],  # noqa: S104  refused
)
def test_a_holder_connects_to_nothing_else(host):
    assert addresses(bring(host), LOOPBACK) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_only_who_reaches_the_server_by_the_loopback_connects_to_it(host):
    assert addresses(bring(host), LAN) == []
    assert addresses(bring(host), LOOPBACK) == [host]


@pytest.mark.parametrize("port", [-1, 0, 22, 1023, 65_536])
def test_a_holder_connects_to_no_port_of_a_service(port):
    assert addresses(bring("10.1.2.3", port=port), LAN) == []


@pytest.mark.parametrize("ticket", [b"", bytes(31), bytes(33)])
def test_a_ticket_that_is_none_opens_nothing(ticket):
    assert addresses(bring("10.1.2.3", ticket=ticket), LAN) == []


def test_a_holder_tries_a_few_addresses_at_most():
    many = [f"10.1.2.{last}" for last in range(200)]
    assert addresses(bring(*many), LAN) == many[:4]
