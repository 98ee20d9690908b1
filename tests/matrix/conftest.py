"""A mesh at work, people on it who may do less than they try, and one who sees all."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gossamer
from gossamer_mesh.identity.authority import Authority
from gossamer_mesh.identity.nkey import KeyPair
from gossamer_mesh.permissions import Role
from testbed.anybody import anybody, as_user
from tests.abuse.conftest import Bystander
from tests.integration.conftest import Fleet
from tests.matrix.people import Loop, Raw, until
from tests.matrix.rows import ROWS, Row, table

SITE = "field"
AGENT = "pi"
"""Whose place others would like to take."""

PEOPLE: dict[str, tuple[Role, str, str]] = {
    "client eve": ("client", "eve", ""),
    "gateway gil": ("gateway", "gil", ""),
    "admin ann": ("admin", "ann", ""),
    "agent rogue": ("agent", "rogue", SITE),
    "agent far, of another site": ("agent", "far", "elsewhere"),
    "joiner jo": ("joiner", "jo", ""),
    "founder fay": ("founder", "fay", ""),
    "visitor vi": ("visitor", "vi", ""),
}
BYSTANDER_S = 20.0
KNOWN = "who tried, the server's log"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section(f"matrix: {len(ROWS)} attempts")
        for line in table():
            terminalreporter.write_line(line)


class Scene(Fleet):
    """The mesh, and who is on it by hand. `sees` hears all, and may say all."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.loop = Loop()
        self.authority = Authority.load(self.access.parent / "keys.json")
        self._marks = itertools.count()
        self._people: dict[str, Raw] = {}
        self._logged = 0

    def setup(self) -> None:
        for name in (AGENT, "bay"):
            self.add(name, f"site = '{SITE}'\nwork.slots = 2")
        self.client = self.connect()
        self.caller = self.client.name
        all_mine = anybody(self.access)
        self.sees = Raw(self.loop, all_mine.url, "anybody", **as_user(all_mine.jwt, all_mine.seed))
        self.sees.hear(">")

    @property
    def url(self) -> str:
        return self.server.access.url

    def person(self, who: str) -> Raw:
        """Return somebody's connection, one for the session."""
        if who not in self._people:
            role, name, site = PEOPLE[who]
            self._people[who] = self.newcomer(role, name, site)
        return self._people[who]

    def newcomer(self, role: Role, name: str, site: str = "", ttl_s: int = 0) -> Raw:
        pair = KeyPair.new("user")
        jwt = self.authority.issuer(role).vouch(
            name, pair.public, int(time.time()), ttl_s=ttl_s, site=site
        )
        return Raw(self.loop, self.url, name, **as_user(jwt, pair.seed))

    def mark(self) -> bytes:
        """Return what is in no other message."""
        return b"mark-%d-of-the-matrix" % next(self._marks)

    def logged(self) -> str:
        """Return what the server has logged since this was asked last."""
        with self.server.log.open("rb") as log:
            log.seek(self._logged)
            said = log.read()
        self._logged += len(said)
        return said.decode(errors="replace")

    def agent_log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def leave(self) -> None:
        for each in (*self._people.values(), self.sees):
            each.close()
        self.client.close()
        self.loop.end()
        self.end()


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("matrix"))
    try:
        made.setup()
        yield made
    finally:
        made.leave()


@pytest.fixture(scope="session")
def _bystander(scene: Scene) -> Iterator[Bystander]:
    process = Bystander(scene.access, scene.directory / "bystander.log", AGENT, "bay")
    try:
        process.wait()
        yield process
    finally:
        process.end()


@pytest.fixture(autouse=True)
def _the_mesh_goes_on(_bystander: Bystander) -> Iterator[None]:
    """See that a bystander's calls end well during each attempt, and that one ends after it."""
    yield
    calls, errors, _ = _bystander.seen()
    deadline = time.monotonic() + BYSTANDER_S
    while not calls and not errors and time.monotonic() < deadline:
        time.sleep(0.005)
        calls, errors, _ = _bystander.seen()
    assert not errors
    assert calls


@pytest.fixture
def client(scene: Scene) -> gossamer.Mesh:
    """Return a client of the library's own, whose user is the owner."""
    return scene.client


def row(attempt: str, whose: str, happened: str, knows: str) -> None:
    ROWS.append(Row(attempt, whose, happened, knows))


def say_in_vain(
    scene: Scene,
    who: str,
    subject: str,
    reply: str = "",
    data: bytes = b"",
    headers: dict[str, str] | None = None,
) -> None:
    """Have somebody say what the server must refuse: nobody may hear it."""
    person, mark = scene.person(who), scene.mark()
    scene.logged()
    person.told.clear()
    person.say(subject, data + mark, reply, headers)
    arrived = [heard for heard in scene.sees.heard() if mark in heard.data]
    refused = person.refused(subject)
    happened = "IT WAS SAID" if arrived else ("refused" if refused else "lost, NOT REFUSED")
    how = f" ({', '.join(headers.values())})" if headers else ""
    row(f"say {_short(scene, subject)}{how}", who, happened, KNOWN if refused else "nobody")
    assert not arrived
    assert refused
    _see_in_log(scene, subject)


def listen_in_vain(scene: Scene, who: str, subject: str, queue: str = "") -> None:
    """Have somebody listen to what the server must keep from it."""
    person, mark = scene.person(who), scene.mark()
    scene.logged()
    person.told.clear()
    person.heard()
    person.hear(subject, queue)
    said = subject.replace("*", "x").replace(">", "x")
    if not said.startswith("$"):
        scene.sees.say(said, mark)
    heard = person.heard()
    refused = person.refused(subject, "subscription")
    happened = "IT WAS HEARD" if heard else ("refused" if refused else "silent, NOT REFUSED")
    among = " in a queue" if queue else ""
    knows = KNOWN if refused else "nobody"
    row(f"hear {_short(scene, subject)}{among}", who, happened, knows)
    assert not heard
    assert refused
    _see_in_log(scene, subject)


def _short(scene: Scene, subject: str) -> str:
    return subject.replace(scene.caller, "owner.1")


def _see_in_log(scene: Scene, subject: str) -> None:
    """See that the server has written what it has refused into its log."""
    seen: list[str] = []

    def there() -> bool:
        seen.append(scene.logged())
        return f'"{subject}"' in "".join(seen)

    until(there)
