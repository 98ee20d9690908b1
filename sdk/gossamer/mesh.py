"""A connection to a mesh, as users hold it."""

from __future__ import annotations

import atexit
import functools
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from gossamer.client import Client, new_name
from gossamer.lease import LEASE_S
from gossamer.submitter import Submitter
from gossamer_mesh.access import Standing
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.subjects import user_of
from gossamer_mesh.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from gossamer.embedded import Embedded
    from gossamer.ref import Ref
    from gossamer.sharing import Granted, GrantTable
    from gossamer.show import AgentTable, FunctionTable
    from gossamer.task import Task
    from gossamer.transcript import LogLine
    from gossamer.who import Who
    from gossamer_mesh.access import Access
    from gossamer_mesh.link import Link
    from gossamer_mesh.registered import Registered

T = TypeVar("T")

SEEN_S: Final = 2.0
LOOK_S: Final = 0.01
"""An agent that says it has joined is seen here moments later; looked for this often."""


class Mesh(Submitter):
    """Made by `connect`. A context manager; closed by itself when the process ends."""

    def __init__(
        self,
        link: Link,
        *,
        name: str,
        standing: Standing | None = None,
        own: Embedded | None = None,
        lease_s: float = LEASE_S,
        open_bulk: Callable[[], Link] | None = None,
        direct: bool = True,
    ) -> None:
        client = Client(link, name, lease_s, open_bulk=open_bulk, direct=direct)
        if own is not None:
            client.alone = own.trouble
        super().__init__(client, {})
        if standing is not None and standing.access.jwt:
            client.introduce(lambda: standing.access.jwt)
        self._standing = standing
        self._own = own
        self._at_exit = _AtExit(self)

    @classmethod
    def open(
        cls,
        access: Access,
        *,
        own: Embedded | None = None,
        lease_s: float = LEASE_S,
        direct: bool = True,
    ) -> Mesh:
        """Open the mesh that `access` reaches; `own` is a throw-away mesh that ends with it.

        Errors as `connect`; `own` is ended then.
        """
        from gossamer_mesh.link.nats import NatsLink  # noqa: PLC0415  slow: only to connect

        name, standing = new_name(access.name), Standing(access)
        if access.visitors:
            from gossamer_mesh.enrolment import returning  # noqa: PLC0415  of no use elsewhere

            returning.allow(standing)
        try:
            link = NatsLink.connect(standing, name=name)
        except BaseException:
            if own is not None:
                own.close()
            raise
        if access.expires:
            from gossamer_mesh.enrolment import renewal  # noqa: PLC0415  as above

            renewal.keep_up(link, access.name, standing)
        bulk = functools.partial(NatsLink.connect, standing, name=f"{name}-bulk")
        return cls(
            link,
            name=name,
            standing=standing,
            own=own,
            lease_s=lease_s,
            open_bulk=bulk,
            direct=direct,
        )

    @property
    def name(self) -> str:
        """This client's name on the mesh."""
        return self._client.name

    @property
    def access(self) -> Access | None:
        """How it is reached, and who we are there: renewed in time, if it expires."""
        return self._standing.access if self._standing is not None else None

    def whoami(self) -> Who:
        """Return who we are on the mesh: name, role, groups, and until when. Asks nobody."""
        from gossamer import who  # noqa: PLC0415  imported when it is used

        if self.access is None:
            return who.Who(name=user_of(self.name), role="", url="")
        return who.of(self.access)

    def grants(self) -> GrantTable:
        """Return what is granted on the mesh: a list that shows itself as a table.

        `ConnectError`, or `ServerError` if the server keeps nothing.
        """
        from gossamer import sharing  # noqa: PLC0415  imported when it is used

        self._client.check_open()
        return sharing.listed(self._client.link)

    def share(
        self,
        function: str | Registered,
        *,
        with_user: str | None = None,
        with_group: str | None = None,
        agents: str = "",
        until: float | str = "7d",
        per_hour: int = 0,
        concurrent: int = 0,
    ) -> Granted:
        """Let a user, or all of a group, run a registered function: "describe@2", "describe@*".

        Whose it is, is settled now, as for a call, and written into the grant: nobody else's ever
        comes to be meant. What is still to be registered is named in full, as "ada/describe@*". It
        runs with the code that is registered, on the `agents` that the expression is about (""
        for all), until so long from now; each agent takes so many calls of one user an hour and at
        a time, 0 for any number. "any" is for whatever code they send. Only administrators may:
        `EnrolmentError` says so to others; `ConnectError` where nobody serves the mesh. If the name
        is nobody's or several's: `UnknownFunctionError`, `AmbiguousNameError`.
        """
        from gossamer import sharing  # noqa: PLC0415  imported when it is used
        from gossamer_mesh.identity.claims import GrantPart  # noqa: PLC0415  as above

        self._client.check_open()
        if self.access is None:
            raise ConfigError("this mesh knows no users: there is nobody to share with")
        to = sharing.to(with_user, with_group)
        named = sharing.in_full(str(function), self.find)
        part = GrantPart(
            functions=(named,), agents=agents, per_hour=per_hour, concurrent=concurrent
        )
        return sharing.give(self.access, to, part, int(parse_seconds(until)))

    @property
    def url(self) -> str:
        """Where the mesh's server is."""
        return self.access.url if self.access is not None else ""

    @property
    def closed(self) -> bool:
        return self._client.closed

    def agents(self) -> AgentTable:
        """Return the agents on the mesh: a list that shows itself as a table.

        Of a mesh that `connect` has just started, those that are still on their way are waited
        for: at most 2 s after they have joined.
        """
        from gossamer.show import AgentTable  # noqa: PLC0415  imported when it is used

        seen = self._client.agents()
        if self._own is not None and len(seen) < len(self._own.agents):
            self._own.wait_ready()
            deadline = time.monotonic() + SEEN_S
            while len(seen) < len(self._own.agents) and time.monotonic() < deadline:
                time.sleep(LOOK_S)
                seen = self._client.agents()
        return AgentTable(seen)

    def put(self, value: T) -> Ref[T]:
        """Keep `value`, as it is now, for calls to name: it is sent once to where it is used.

        Passed to `submit` or `map`, also inside other arguments, the `Ref` stands for the value.
        `PayloadError` if it cannot be pickled, `PayloadTooLargeError` if there is no room for it.
        """
        return self._client.put(value)

    def register(
        self,
        fn: Callable[..., object],
        *,
        name: str | None = None,
        version: int | None = None,
        description: str | None = None,
    ) -> Registered:
        """Keep a function on the mesh, to be called by its name from anywhere: "describe@2".

        It is this user's: nobody else changes it, and where others have one of the same name, they
        say "ada/describe@2". `name`: by default the function's own; `version`: the next number, or
        the newest one where that has this very code; `description`: the first line of its
        docstring. What `gossamer.function` said of it holds for calls by name, too. Its code is
        kept as it is now, with what it captures. A warning says so when its digest is none of its
        meaning: such a function is a new one whenever it is registered, and agents cannot allow it.

        `VersionTakenError` if other code has this version, and says which one is next;
        `ConfigError` for a name that cannot be one; `PayloadError`; `PayloadTooLargeError` for
        code of more than 900 KiB; `ConnectError`, or `ServerError` if the server keeps nothing.
        """
        return self._client.names.register(fn, name, version, description)

    def functions(self, search: str | None = None) -> FunctionTable:
        """Return everybody's registered functions: a list that shows itself as a table.

        `search`: only those that have this text, in whatever case, in their name, description or
        owner. `ConnectError`, or `ServerError` if the server keeps nothing.
        """
        from gossamer.show import FunctionTable  # noqa: PLC0415  imported when it is used

        return FunctionTable(self._client.names.all(search))

    def find(self, function: str) -> Registered:
        """Return what a name means in a call: "describe" the newest, "ada/describe@2" just that.

        Without an owner it is this user's own, or else the only one of that name.
        `UnknownFunctionError` if there is none, `AmbiguousNameError` if several others have one;
        `ConnectError`, or `ServerError` if the server keeps nothing.
        """
        return self._client.names.find(function)

    def unregister(self, function: str | Registered) -> Registered:
        """Delete one version of a registered function: "describe@1". Calls of it go on.

        Return what it was.

        `UnknownFunctionError` if there is none, `ConfigError` for a name without a version,
        `NotAllowedError` if it is another user's and this one is no administrator.
        """
        from gossamer import who  # noqa: PLC0415  imported when it is used

        # On a server that is no mesh's, nobody is held to anything.
        anybodys = self.whoami().role in {"", who.ADMIN}
        return self._client.names.unregister(function, anybodys=anybodys)

    def wait(self, task: Task[T]) -> T:
        """Return the task's value, or raise: the same as `task.result()`."""
        return task.result()

    def logs(self, task: Task[Any]) -> Iterator[LogLine]:
        """Iterate over the lines that a task prints, until it ends: `task.logs(follow=True)`."""
        return task.logs(follow=True)

    def trust(self, *packages: str) -> None:
        """Let results hold any type of these packages, which lets an agent run their code here.

        Without it, results are made of plain values, numpy arrays and the caller's own classes.
        """
        self._client.trust.add(*packages)

    def close(self) -> None:
        """Leave the mesh: tasks that have not ended are cancelled, there and here. Idempotent.

        A mesh that `connect` started for this process ends with it.
        """
        atexit.unregister(self._at_exit)
        for work in self._client.close():
            owner = work.owner
            if owner is not None:
                owner.on_abandoned()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Mesh {self.url or 'in memory'} as {self.name}: {state}>"


class _AtExit:
    """Closes a mesh that its user forgot, unless it is gone or this is a forked child."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = weakref.ref(mesh)
        self._pid = os.getpid()
        atexit.register(self)

    def __call__(self) -> None:
        mesh = self._mesh()
        if mesh is not None and os.getpid() == self._pid:
            mesh.close()
