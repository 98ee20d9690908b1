"""The client's shell around the keeper: the link's thread performs what it decides.

The user's thread only appends and wakes; a result resolves its future from the link's thread.
Two crossings a call.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import logging
import os
import queue
import random
import secrets
import socket
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar, cast

from gossamer.effects import Collect, Effect, Ended, Leave, Running, SendControl, SendRun, Told
from gossamer.keeper import Keeper
from gossamer.lease import LEASE_S
from gossamer.sending import SETTLE_S
from gossamer.work import Job, Work, new_work
from gossamer_mesh import subjects, wire
from gossamer_mesh.directory import Directory, DirectoryUnavailable, DocumentsRead, Event
from gossamer_mesh.errors import LinkClosedError, MeshError, ProtocolError
from gossamer_mesh.link import Link, Message, Status
from gossamer_mesh.membership import Changed, Dead, Joined, Reincarnated, Suspect
from gossamer_mesh.payload import CodePayload, Payload, Trust, dump_object
from gossamer_placement.candidate import Candidate
from gossamer_placement.estimates import Estimates
from gossamer_placement.fleet import Fleet
from gossamer_placement.model import Decision

if TYPE_CHECKING:
    from gossamer.cargo import Cargo
    from gossamer.names import Names
    from gossamer.ref import Ref, References
    from gossamer_mesh.blob import Held

T = TypeVar("T")

TICK_S: Final = 0.1
HOLD_S: Final = 0.05
"""A first burst waits so long for the agents that were there to be known, not to go to one."""

HOLD_MOST_S: Final = 0.5
CONFIRM_S: Final = 0.5
ANSWER_S: Final = 5.0
HELLO_AT_MOST: Final = 256
"""So many agents known only by their document are asked for a sign of life on connection;
the others' heartbeats come within seconds."""

_log = logging.getLogger("gossamer")

_clients: Final[weakref.WeakSet[Client]] = weakref.WeakSet()


def _mark_forked() -> None:
    for client in _clients:
        client.forked()


os.register_at_fork(after_in_child=_mark_forked)


def new_name(user: str) -> str:
    """Return a name for this process on the mesh: its user's, and what tells it from the others."""
    return subjects.session(user, secrets.token_hex(6))


class Client:
    """One process's attached tasks. Thread-safe where it does not say otherwise.

    `alone` may be set to what tells, without waiting, why no agent is there; "" if it cannot.
    """

    _puts: ClassVar[bool] = False
    """Whether this process has put anything: only then arguments are searched for references."""

    def __init__(
        self,
        link: Link,
        name: str,
        lease_s: float = LEASE_S,
        *,
        open_bulk: Callable[[], Link] | None = None,
        direct: bool = True,
    ) -> None:
        """`open_bulk` connects once more, for large payloads; without it they go over `link`.

        `direct=False`: they never have connections of their own.
        """
        self.name = name
        self._direct = direct
        self._open_bulk = open_bulk or (lambda: link)
        self._cargo: Cargo | None = None
        self._cargo_lock = threading.Lock()
        self.trust = Trust(("__main__",))
        self.alone: Callable[[], str] = str
        self._trouble = ""
        self._link = link
        fleet = Fleet(estimates=Estimates(zlib.crc32(name.encode())), host=socket.gethostname())
        self._keeper = Keeper(random.Random(name), fleet, lease_s=lease_s)
        self._keeper.holding = True
        self._numbers = itertools.count(1)
        self._submitted: collections.deque[Work] = collections.deque()
        self._cancelled: collections.deque[Work] = collections.deque()
        self._taking = False
        self._ticking = False
        self._confirmed: dict[tuple[str, int], float] = {}
        self._closed = False
        self._forked = False
        _clients.add(self)
        self._callbacks: queue.SimpleQueue[Callable[[], object] | None] | None = None
        self._callback_lock = threading.Lock()
        self._names: Names | None = None
        self._names_lock = threading.Lock()
        self._link_thread = 0
        link.subscribe(subjects.all_outs(name), self._heard)
        link.subscribe(subjects.all_inboxes(name), self._unheard)
        link.on_status(self._status)
        self._directory = Directory(link, self._told)
        self._known = threading.Event()
        link.post(self._begin)

    # -- the user's side ---------------------------------------------------------------------

    def work(self, job: Job, payload: bytes, buffers: tuple[bytes, ...], items: int = 0) -> Work:
        """Make the record of a new task. `submit` starts it."""
        if self._closed or self._forked:
            raise self._unusable()
        return new_work(next(self._numbers), job, payload, buffers, items, self._link.now())

    def large_work(self, job: Job, payload: Payload, items: int = 0) -> Work:
        """As `work`, for a large payload, which is written down as it is now.

        What becomes of its objects afterwards changes nothing. `PayloadTooLargeError` if there
        is no room for it.
        """
        held, blob = self.cargo.keep(payload)
        work = self.work(job, b"", (), items)
        work.blob, work.holds = blob, (held,)
        work.size += blob.size
        return work

    def put(self, value: T) -> Ref[T]:
        """Write an object down for calls to name."""
        from gossamer.ref import Ref, References  # noqa: PLC0415  only who puts something

        refs = References(self)
        payload = dump_object(value, refs=refs)
        refs.bound |= type(payload) is CodePayload
        held, blob = self.cargo.keep(payload)
        Client._puts = True
        return Ref(self, held, blob, type(value).__qualname__, refs)

    def references(self) -> References | None:
        """Return what finds references among arguments; None where nothing was ever put."""
        if not self._puts:
            return None
        from gossamer.ref import References  # noqa: PLC0415  as above

        return References(self)

    @property
    def cargo(self) -> Cargo:
        """What is too large for messages. Any thread; made when it is first asked for."""
        if self._closed or self._forked:
            raise self._unusable()
        with self._cargo_lock:
            if self._cargo is None:
                from gossamer.cargo import Cargo  # noqa: PLC0415  only who has large payloads

                self._cargo = Cargo(self._link, self.name, self._open_bulk, direct=self._direct)
            return self._cargo

    def submit(self, work: Work) -> None:
        """Hand a task over. A burst is one crossing."""
        self._submitted.append(work)
        if not self._taking:
            self._taking = True
            self._link.post(self._take)
        if self._closed:  # while we were here: nobody takes it any more
            raise self._unusable()

    def cancel(self, work: Work) -> None:
        """Give a task up. A burst is one crossing, and one message an agent."""
        # Itself: its number is another when its backup has taken its place.
        self._cancelled.append(work)
        if not self._taking:
            self._taking = True
            with contextlib.suppress(LinkClosedError):
                self._link.post(self._take)

    def now(self) -> float:
        return self._link.now()

    def agents(self, wait_s: float = 2.0) -> list[Candidate]:
        """Return the agents seen on the mesh; waits for the first listing to be complete."""
        if self._closed or self._forked:
            raise self._unusable()
        self._known.wait(wait_s)
        return self.ask(lambda: list(self._keeper.fleet))

    def explain(self, job: Job, size_bytes: int = 0, wait_s: float = 2.0) -> Decision:
        """Return where a call of this job would go now, and why; nothing is run.

        Raises what submitting it would: `NoAgentError` and its like.
        """
        if self._closed or self._forked:
            raise self._unusable()
        self._known.wait(wait_s)
        return self.ask(lambda: self._keeper.explain(job, size_bytes, self._link.now()))

    def ask(self, question: Callable[[], T]) -> T:
        """Run `question` in the link's thread and return its answer, or raise its `MeshError`."""
        answers: queue.SimpleQueue[tuple[T | None, MeshError | None]] = queue.SimpleQueue()

        def answer() -> None:
            try:
                answers.put((question(), None))
            except MeshError as error:
                answers.put((None, error))

        if self._closed or self._forked:
            raise self._unusable()
        self._link.post(answer)
        try:
            found, error = answers.get(timeout=ANSWER_S)
        except queue.Empty:
            raise self._unusable() from None
        if error is not None:
            raise error
        return cast("T", found)

    @property
    def user(self) -> str:
        """Who owns what is registered here: the user, whose sessions are all one owner."""
        # On a server that is no mesh's, users may have names that we give nobody.
        return subjects.as_name(subjects.user_of(self.name), "user")

    @property
    def names(self) -> Names:
        """The registered functions; the registry is watched from the first use on."""
        names = self._names
        if names is None:
            self.check_open()
            from gossamer.names import Names  # noqa: PLC0415  only who uses names needs it

            with self._names_lock:
                self._names = self._names or Names(self._link, self.user, self.check_open)
                names = self._names
        return names

    def close(self) -> list[Work]:
        """Say goodbye and end the link; return the tasks that have not ended."""
        if self._closed or self._forked:
            return []
        self._closed = True
        left: queue.SimpleQueue[list[Work]] = queue.SimpleQueue()

        def goodbye() -> None:
            self._directory.close()
            if self._names is not None:
                self._names.close()
            works = self._keeper.works()
            with contextlib.suppress(MeshError):
                self._perform(self._keeper.leave())
            left.put(works)

        unended: list[Work] = []
        with contextlib.suppress(LinkClosedError, queue.Empty):
            self._link.post(goodbye)
            unended = left.get(timeout=2.0)
        if self._cargo is not None:
            self._cargo.close()
        self._link.close()
        with self._callback_lock:
            if self._callbacks is not None:
                self._callbacks.put(None)
        return [*unended, *self._submitted]

    def introduce(self, token: Callable[[], str]) -> None:
        """Let agents know who we are by what `token` says, in the link's thread, when they ask."""
        self._link.post(functools.partial(self._keeper.introduce, token))

    def forked(self) -> None:
        """This is the child's copy: its threads and its connection are the parent's."""
        self._forked = True

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked child's copy."""
        return self._forked

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def link(self) -> Link:
        """What it speaks over. Any thread."""
        return self._link

    def call_back(self, fn: Callable[[], object]) -> None:
        """Run a user's callback: never in the link's thread, which must not wait for it."""
        if threading.get_ident() != self._link_thread:
            fn()
            return
        with self._callback_lock:
            if self._callbacks is None:
                self._callbacks = queue.SimpleQueue()
                threading.Thread(
                    target=_run_callbacks,
                    args=(self._callbacks,),
                    name="gossamer-callbacks",
                    daemon=True,
                ).start()
            self._callbacks.put(fn)

    def check_open(self) -> None:
        """Raise `LinkClosedError` where the mesh cannot be used any more."""
        if self._closed or self._forked:
            raise self._unusable()

    def check_not_forked(self) -> None:
        """Raise `LinkClosedError` in a child of the process that opened the mesh."""
        if self._forked:
            raise self._unusable()

    def _unusable(self) -> LinkClosedError:
        if self._forked:
            return LinkClosedError(
                "this mesh was opened in the parent process, and connections do not survive a "
                "fork: call gossamer.connect() in this process"
            )
        return LinkClosedError("this mesh is closed: open another with gossamer.connect()")

    # -- the link's thread -------------------------------------------------------------------

    def _begin(self) -> None:
        self._link_thread = threading.get_ident()
        self._link.call_later(HOLD_MOST_S, self._release)

    def _take(self) -> None:
        self._taking = False
        submitted = self._submitted
        # Looked at first: what is cancelled here was submitted before.
        cancelled = [self._cancelled.popleft() for _ in range(len(self._cancelled))]
        works = [submitted.popleft() for _ in range(len(submitted))]
        self._perform(self._keeper.submit(works, self._link.now()))
        if cancelled:
            numbers = [work.number for work in cancelled]
            self._perform(self._keeper.cancel(numbers, self._link.now()))
        if (submitted or self._cancelled) and not self._taking:
            self._taking = True
            self._link.post(self._take)

    def _heard(self, message: Message) -> None:
        try:
            out = wire.decode_out(message.payload)
        except ProtocolError as error:
            _log.warning("a message on %s was ignored: %s", message.subject, error)
            return
        agent = subjects.speaker(message.subject, self.name)
        now = self._link.now()
        if self._keeper.fleet.get(agent) is None:
            # Known first, so that its first message is not missed.
            self._confirm(agent, out, now)
            self._perform(self._keeper.heard(agent, out, now))
            return
        self._perform(self._keeper.heard(agent, out, now))
        # The results are with their owners: now there is time.
        self._keeper.reflect()
        # The keeper has the state; that the agent lives need not be noted with every result.
        if now - self._confirmed.get((agent, out.incarnation), -CONFIRM_S) >= CONFIRM_S:
            self._confirm(agent, out, now)

    def _confirm(self, agent: str, out: wire.Out, now: float) -> None:
        self._confirmed[agent, out.incarnation] = now
        self._directory.confirm(agent, out.incarnation, out.state)
        if not self._known.is_set():
            self._check_known()

    def _unheard(self, message: Message) -> None:
        if not message.no_responders:
            return
        try:
            agent, number = subjects.inbox_parts(message.subject)
        except ProtocolError:
            return
        self._perform(self._keeper.unheard(agent, number, self._link.now()))
        if self._keeper.fleet.get(agent) is None:
            self._directory.no_responders(agent)
            self._check_known()

    def _told(self, event: Event) -> None:
        now = self._link.now()
        match event:
            case Joined(agent=agent) | Changed(agent=agent):
                listing = self._directory.listed[agent]
                coordinate = listing.coordinate
                known = self._keeper.fleet.get(agent)
                if known is None or known.document is not listing.document:
                    self._perform(self._keeper.joined(listing.document, listing.state, now))
                else:
                    self._perform(self._keeper.changed(listing.document, listing.state, now))
                self._keeper.fleet.located(agent, coordinate)
            case Suspect(agent=agent):
                self._keeper.suspected(agent)
            case Dead(agent=agent, incarnation=incarnation, reason=reason):
                self._confirmed.pop((agent, incarnation), None)
                why = "left the mesh" if reason == "left" else "died"
                self._perform(self._keeper.gone(agent, why, now))
            case Reincarnated(agent=agent, old=old):
                self._confirmed.pop((agent, old), None)
                self._perform(self._keeper.gone(agent, "was restarted", now))
            case DocumentsRead():
                self._greet()
                self._perform(self._keeper.settled(now))
            case DirectoryUnavailable(reason=reason):
                self._release()
                self._trouble = reason
                _log.warning("%s", reason)

    def _greet(self) -> None:
        """Ask the agents that were there before us for a sign of life."""
        for agent, incarnation in self._directory.unconfirmed()[:HELLO_AT_MOST]:
            self._control(agent, 0, wire.Ping(0, incarnation, 0, self._keeper.lease_s))
        self._link.call_later(SETTLE_S, self._known.set)
        self._link.call_later(HOLD_S, self._release)
        self._check_known()

    def _check_known(self) -> None:
        if self._directory.read and not self._directory.unconfirmed():
            self._known.set()
            self._release()

    def _release(self) -> None:
        if not self._closed:
            self._perform(self._keeper.release(self._link.now()))

    def _status(self, status: Status) -> None:
        if status == "closed":
            # Not by us: `close` has taken what was left. Nobody will bring the results.
            for work in [] if self._closed else self._keeper.works():
                if work.owner is not None:
                    work.owner.on_abandoned()
            return
        self._keeper.link(up=status == "up", now=self._link.now())
        if status == "up" and self._keeper.busy:
            self._perform(self._keeper.tick(self._link.now()))

    def _tick(self) -> None:
        self._ticking = False
        if self._closed:
            return
        if not len(self._keeper.fleet):
            self._keeper.trouble = self._trouble or self.alone()
        self._perform(self._keeper.tick(self._link.now()))

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Ended):  # by far the most frequent
                if effect.work.holds and self._cargo is not None:
                    self._cargo.ended(effect.work)
                if effect.work.owner is not None:
                    effect.work.owner.on_ended()
            elif isinstance(effect, SendRun):
                if self._cargo is not None:
                    self._cargo.grant(effect.agent, effect.run)
                self._link.publish(
                    subjects.run(effect.agent, self.name),
                    wire.encode(effect.run),
                    subjects.inbox(self.name, effect.agent, effect.number),
                )
            elif isinstance(effect, SendControl):
                self._control(effect.agent, effect.number, effect.message)
            else:
                self._perform_rarer(effect)
        if not self._ticking and self._keeper.busy and not self._closed:
            self._ticking = True
            self._link.call_later(TICK_S, self._tick)

    def _perform_rarer(self, effect: Running | Told | Collect | Leave) -> None:
        if isinstance(effect, Collect):
            self._collect(effect)
        elif isinstance(effect, Leave):
            self.cargo.leave(effect.blob, effect.task)
        elif effect.work.owner is None:
            return
        elif isinstance(effect, Told):
            effect.work.owner.on_told(effect.record)
        else:
            effect.work.owner.on_running()

    def _collect(self, effect: Collect) -> None:
        work, number, attempt = effect.work, effect.number, effect.attempt

        def here(outcome: Held | MeshError) -> None:
            waiting = self._keeper.awaiting(number, attempt)
            if waiting is None:
                return
            problem = outcome if isinstance(outcome, MeshError) else None
            waiting.result = None if problem is not None else outcome
            self._perform(self._keeper.collected(number, attempt, problem, self._link.now()))

        self.cargo.collect(
            effect.blob,
            work.agent,
            number,
            work.job.name,
            lambda outcome: self._later(here, outcome),
        )

    def _later(self, fn: Callable[[Held | MeshError], None], outcome: Held | MeshError) -> None:
        # Not in the midst of what is being performed.
        with contextlib.suppress(LinkClosedError):
            self._link.post(functools.partial(fn, outcome))

    def _control(self, agent: str, number: int, message: wire.Control) -> None:
        self._link.publish(
            subjects.control(agent, self.name),
            wire.encode(message),
            subjects.inbox(self.name, agent, number),
        )


def _run_callbacks(jobs: queue.SimpleQueue[Callable[[], object] | None]) -> None:
    while (job := jobs.get()) is not None:
        try:
            job()
        except BaseException:  # noqa: BLE001  the user's code; not even SystemExit ends us
            _log.exception("a callback of a task failed")
