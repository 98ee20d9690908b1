"""A server that dies again and again under load, and one whose disk is full."""

from __future__ import annotations

import collections
import json
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import gossamer
from tests.abuse.conftest import WITHIN_S, Bystander, trial
from tests.abuse.raw import until
from tests.integration.conftest import Fleet

KILLS = 20
UP_S = 0.4
STALL_S = 8.0
"""For a call that is under way when the server dies: it is back within two seconds, and a call or
its answer that was on the way is sent again one or two later; it may happen several times."""


def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def monitored(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, monitor=True)
    try:
        yield fleet
    finally:
        fleet.end()


def ask(fleet: Fleet, path: str) -> dict[str, Any]:
    connection = HTTPConnection(fleet.server.monitor_url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", path)
        found: dict[str, Any] = json.load(connection.getresponse())
        return found
    finally:
        connection.close()


def subscriptions(fleet: Fleet) -> dict[str, collections.Counter[str]]:
    """Return, by the client's name, what the server has subscriptions for."""
    found: dict[str, collections.Counter[str]] = {}
    for connection in ask(fleet, "/connz?subs=1&limit=1000")["connections"]:
        listed = connection.get("subscriptions_list") or []
        ours = (name for name in map(known, listed) if name)
        # One that is just connecting has no name yet.
        found[connection.get("name", "?")] = collections.Counter(ours)
    return found


def known(subject: str) -> str:
    """Return what a subscription is there for; "" if it is the library's, for what it asks now."""
    if subject.startswith("gsm.") or subject.endswith(".>"):
        return subject
    # A watch is delivered to an inbox with a new name each time; questions have one token more.
    return "a watch" if subject.count(".") == 1 else ""


def consumers(fleet: Fleet) -> dict[str, int]:
    """Return, by stream, how many consumers follow it."""
    account = ask(fleet, "/jsz?accounts=1&streams=1&consumers=1").get("account_details") or []
    streams = [stream for each in account for stream in each.get("stream_detail") or []]
    return {stream["name"]: stream["state"]["consumer_count"] for stream in streams}


def test_a_server_killed_twenty_times_under_load(monitored: Fleet, tmp_path: Path) -> None:
    for name in ("yard", "steady"):
        monitored.add(name, "work.slots = 2")
    bystander = Bystander(monitored.access, tmp_path / "bystander.log", "yard", "steady")
    try:
        bystander.wait()
        with (
            monitored.connect() as mesh,
            trial(f"the server killed {KILLS} times under load", bystander, 80, STALL_S) as told,
        ):
            assert mesh.submit(double, 1).result(WITHIN_S) == 2
            before = settled(monitored)
            tasks: list[gossamer.Task[int]] = []
            ended = threading.Event()

            def load() -> None:
                while not ended.is_set():
                    tasks.append(mesh.submit(double, len(tasks)))
                    time.sleep(0.01)

            loader = threading.Thread(target=load)
            loader.start()
            try:
                for _ in range(KILLS):
                    time.sleep(UP_S)
                    monitored.kill_server()
                    monitored.restart_server()
            finally:
                ended.set()
                loader.join()
            assert [task.result(30) for task in tasks] == [2 * x for x in range(len(tasks))]
            until(lambda: settled(monitored) == before, WITHIN_S)
            (subs, follow) = before
            told.happened = (
                f"{len(tasks)} calls completed; {sum(map(len, subs.values()))} subscriptions of "
                f"{len(subs)} connections, {sum(follow.values())} consumers are all back"
            )
    finally:
        bystander.end()


def settled(fleet: Fleet) -> tuple[dict[str, collections.Counter[str]], dict[str, int]]:
    """Return what the server has once two looks in a row are alike."""
    last = None
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        now = subscriptions(fleet), consumers(fleet)
        if now == last:
            return now
        last = now
        time.sleep(0.3)
    raise AssertionError(f"it never settles: {last}")
