"""Grants: who may run what on agents that do not take everybody's calls. Given and taken back."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from gossamer import registrar
from gossamer.show import table
from gossamer_mesh import registered, subjects
from gossamer_mesh.enrolment.invitation import shown
from gossamer_mesh.enrolment.messages import Give, Given, TakeBack, TakenBack
from gossamer_mesh.errors import (
    ConfigError,
    ConnectError,
    CredentialsError,
    MeshError,
    UnknownFunctionError,
)
from gossamer_mesh.identity.claims import ANY, Grant, GrantPart, peek
from gossamer_mesh.nearest import did_you_mean

if TYPE_CHECKING:
    from gossamer_mesh.access import Access
    from gossamer_mesh.link import Entry, Handle, Link
    from gossamer_mesh.registered import Registered

READ_S: Final = 10.0


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What `to`, a user or `group:NAME`, may run until `expires` (seconds since 1970; 0: no end).

    `functions`: registered ones, by their owners' names, "any" for whatever code. `agents`: which,
    as in `where=`, "" for all. 0 is no limit of `per_hour` calls, of `concurrent` ones, of CPU
    seconds an hour.
    """

    id: str
    to: str
    functions: tuple[str, ...]
    agents: str = ""
    issued: int = 0
    expires: int = 0
    per_hour: int = 0
    concurrent: int = 0
    cpu_s: float = 0.0


class GrantTable(list[Granted]):
    """Grants, by whom they are for. A list, and a table when it is shown."""

    columns = ("id", "to", "functions", "agents", "quota", "until")

    def __init__(self, grants: Iterable[Granted]) -> None:
        super().__init__(sorted(grants, key=lambda each: (each.to, each.id)))

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of the table, one tuple per grant, in the order of `columns`."""
        return [
            (
                each.id,
                each.to,
                ", ".join(each.functions),
                each.agents or "all",
                _quota(each),
                _until(each),
            )
            for each in self
        ]

    def __repr__(self) -> str:
        return table(self.columns, self.rows()) if self else "no grants"


def give(access: Access, to: str, part: GrantPart, ttl_s: int) -> Granted:
    """Grant something, as an administrator. Blocks; errors as `registrar.ask_as_admin`.

    `ConfigError` if its `agents` is no expression: agents would take it for a grant of nothing.
    """
    from gossamer_placement.where import parse  # noqa: PLC0415  only who grants needs it

    if part.agents:
        parse(part.agents)
    answer = registrar.ask_as_admin(access, Give(to=to, part=part, ttl_s=ttl_s), Given)
    return _read(answer.jwt)


def in_full(pattern: str, find: Callable[[str], Registered]) -> str:
    """Return what a grant is to name: "any", a digest, or a function with its owner's name.

    `find` is asked whose a name is that does not say it, and may raise what it is.
    """
    if pattern == ANY:
        return pattern
    meant = registered.parse_pattern(pattern)
    if isinstance(meant, str) or meant.owner is not None:
        return pattern
    try:
        found = find(str(meant))
    except UnknownFunctionError as error:
        raise UnknownFunctionError(
            f"{error}; what is still to be registered is named by its owner, too, as in "
            f"'ada/{pattern}'",
            **error.fields,
        ) from error
    return f"{found.owner}/{pattern}"


def take_back(access: Access, number: str) -> None:
    """End a grant, as an administrator. Blocks; `ConfigError` where there is none of that number.

    Agents that are connected take no more calls by it at once, others when they are back.
    """
    known = [each.id for each in listed_by(access)]
    if number not in known:
        raise ConfigError(
            f"there is no grant {number!r}{did_you_mean(number, known)} (gossamer grants lists "
            "them)",
            value=number,
        )
    registrar.ask_as_admin(access, TakeBack(id=number), TakenBack)


def listed_by(access: Access) -> GrantTable:
    """As `listed`, over a connection of its own."""
    from gossamer_mesh.link.nats import NatsLink  # noqa: PLC0415  slow: only to connect

    link = NatsLink.connect(access, name=subjects.session(access.name, secrets.token_hex(6)))
    try:
        return listed(link)
    finally:
        link.close()


def listed(link: Link) -> GrantTable:
    """Return what is granted on the mesh. Blocks; `MeshError` if it cannot be read."""
    told: queue.SimpleQueue[Entry | MeshError | None] = queue.SimpleQueue()
    bucket = link.key_value(subjects.GRANTS_BUCKET)

    def asked(outcome: Entry | MeshError | None) -> None:
        # A watch would wait for a server without the bucket, and not say so.
        if isinstance(outcome, MeshError):
            told.put(outcome)
        else:
            watches.put(bucket.watch(told.put))

    watches: queue.SimpleQueue[Handle] = queue.SimpleQueue()
    bucket.get(subjects.ACCOUNT_KEY, asked)
    found: list[Granted] = []
    try:
        while (entry := told.get(timeout=READ_S)) is not None:
            if isinstance(entry, MeshError):
                raise entry
            if entry.value is not None and entry.key != subjects.ACCOUNT_KEY:
                found += _readable(entry.value)
    except queue.Empty:
        raise ConnectError(f"what is granted could not be read within {READ_S:.0f} s") from None
    finally:
        while not watches.empty():
            watches.get().cancel()
    now = time.time()
    return GrantTable(each for each in found if not each.expires or now < each.expires)


def to(user: str | None, group: str | None) -> str:
    """Return whom a grant is for, as it is written; `ConfigError` unless it is one of the two."""
    if (user is None) == (group is None):
        raise ConfigError("share with one of with_user= and with_group=")
    return f"group:{subjects.check_name(group)}" if group else subjects.check_name(user or "")


def _readable(value: bytes) -> list[Granted]:
    try:
        return [_read(value.decode("ascii", "replace"))]
    except CredentialsError:
        return []


def _read(jwt: str) -> Granted:
    claims = peek(jwt, Grant, "grant")
    part = claims.gsm
    return Granted(
        id=claims.jti,
        to=claims.sub,
        functions=part.functions,
        agents=part.agents,
        issued=claims.iat,
        expires=claims.exp,
        per_hour=part.per_hour,
        concurrent=part.concurrent,
        cpu_s=part.cpu_s,
    )


def _quota(each: Granted) -> str:
    parts = [f"{each.per_hour}/h"] if each.per_hour else []
    parts += [f"{each.concurrent} at a time"] if each.concurrent else []
    parts += [f"{each.cpu_s:g} CPU s/h"] if each.cpu_s else []
    return ", ".join(parts) or "none"


def _until(each: Granted) -> str:
    return shown(each.expires) if each.expires else "taken back"
