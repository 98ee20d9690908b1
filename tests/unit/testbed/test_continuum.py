"""The continuum's own parts: what it declares, what it counts, and its slow ways."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossamer_agent.config import load
from testbed.continuum.__main__ import moved_at
from testbed.continuum.machines import MACHINES, Machine
from testbed.continuum.trials import TRIALS, Outcome, Trial
from testbed.continuum.ways import CHUNK_BYTES, HOST, Ways

DELAY_S = 0.02
WITHIN_S = 10.0


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_an_agent_reads_what_its_machine_declares(machine: Machine, tmp_path: Path):
    path = tmp_path / "agent.toml"
    path.write_text(machine.config(), encoding="utf-8")
    config = load(path)
    assert (config.name, config.site, config.slots) == (machine.name, machine.site, machine.slots)
    assert (config.speed, config.labels) == (machine.speed, machine.labels)
    assert (config.idle_w, config.busy_w) == (machine.idle_w, machine.busy_w)
    assert (config.price, config.carbon) == (((0.0, machine.price),), ((0.0, machine.carbon),))
    assert config.data.keys() == machine.data.keys()


def test_every_trial_expects_machines_that_there_are():
    names = {machine.name for machine in MACHINES}
    for trial in TRIALS:
        assert trial.expected
        assert names.issuperset(trial.expected)


@pytest.mark.parametrize(
    ("expected", "went", "share", "right"),
    [
        (("a",), "aaaa", 1.0, True),
        (("a",), "aaab", 0.75, False),
        (("a",), "bbbb", 0.0, False),
        (("a", "b"), "abab", 1.0, True),
        (("a", "b"), "aaab", 0.5, False),
        (("a", "b", "c"), "abab", 0.0, False),
    ],
)
def test_the_share_is_of_the_calls_that_went_right(expected, went, share, right):
    trial = Trial(hint="", options={}, expected=expected)
    outcome = Outcome(trial, tuple(went), 0.0, None)
    assert (outcome.share, outcome.right) == (share, right)


def test_counts_have_the_most_first():
    outcome = Outcome(TRIALS[0], ("a", "b", "b"), 0.0, None)
    assert outcome.counts == [("b", 2), ("a", 1)]


@pytest.mark.parametrize(
    ("went", "at"), [("aab", 3), ("bbb", 1), ("abab", 4), ("baa", None), ("", None)]
)
def test_calls_have_moved_when_none_goes_there_any_more(went, at):
    assert moved_at(went, "a") == at


def connected(ways: Ways) -> socket.socket:
    return socket.create_connection((HOST, ways.open(DELAY_S)), WITHIN_S)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what the first to connect sends, to its end."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            while data := connection.recv(CHUNK_BYTES):
                connection.sendall(data)

    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(WITHIN_S)
        assert not thread.is_alive()


def test_a_way_takes_its_time_there_and_back(echo: int):
    with Ways(echo) as ways, connected(ways) as end:
        began = time.monotonic()
        end.sendall(b"hello")
        assert end.recv(CHUNK_BYTES) == b"hello"
        assert time.monotonic() - began >= 2 * DELAY_S


def test_what_goes_a_way_arrives_whole_and_in_order_and_so_does_its_end(echo: int):
    sent = bytes(range(256)) * 8192

    def send() -> None:
        end.sendall(sent)
        end.shutdown(socket.SHUT_WR)

    received = bytearray()
    with Ways(echo) as ways, connected(ways) as end:
        sending = threading.Thread(target=send)
        sending.start()
        while data := end.recv(CHUNK_BYTES):
            received += data
        sending.join()
    assert received == sent


def test_the_end_of_the_ways_cuts_who_uses_them(echo: int):
    with Ways(echo) as ways:
        end = connected(ways)
        end.sendall(b"hello")
        assert end.recv(CHUNK_BYTES) == b"hello"
    with end:
        assert end.recv(CHUNK_BYTES) == b""


def test_a_way_to_nobody_ends_at_once():
    with socket.create_server((HOST, 0)) as nobody:
        port = nobody.getsockname()[1]
    with Ways(port) as ways, connected(ways) as end:
        assert end.recv(CHUNK_BYTES) == b""
