"""The registrar at work: over a link, one request after the other, as its buckets allow.

It answers only in the inbox of who has asked: else it could be made to speak anywhere.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from gossamer_mesh import subjects
from gossamer_mesh.complaints import Complaints
from gossamer_mesh.enrolment import messages
from gossamer_mesh.enrolment.decision import Decision, Put, Write, refusal, refused
from gossamer_mesh.enrolment.messages import Answer, Enrolled, Join, Login, Request
from gossamer_mesh.enrolment.registrar import Registrar
from gossamer_mesh.enrolment.sealed import Open, Seal
from gossamer_mesh.errors import EnrolmentError, MeshError, ProtocolError
from gossamer_mesh.link import Entry, Link, Message
from gossamer_mesh.vouching.desk import Desk
from gossamer_mesh.vouching.person import Person

TRIES: Final = 5
"""How often a request is decided anew because another registrar was quicker."""

READ_S: Final = 10.0
BELIEVING: Final = ("login", "renew")
"""What is decided by whom the mesh believes."""

MOST_WAITING: Final = 64
"""Requests of one who asks that wait: more than any has use for, and a moment's work for us."""

MOST_JOINING: Final = 1024
"""With one token, which many may have."""

_BUCKETS: Final = (subjects.USERS_BUCKET, subjects.TOKENS_BUCKET)

_UNREADABLE: Final = EnrolmentError(
    "whom this mesh believes cannot be read where it is served: tell its administrator",
    reason="busy",
)
_log = logging.getLogger("gossamer.enrolment")


class _Asked(NamedTuple):
    what: str
    speaker: str
    request: Request | Person
    reply: str


class Service:
    """Serves from `start` until the link is closed. Everything happens in the link's thread."""

    def __init__(
        self,
        link: Link,
        registrar: Registrar,
        revoke: Callable[[Mapping[str, int]], None],
        clock: Callable[[], float] = time.time,
        desk: Desk | None = None,
        seal: Seal | Open | None = None,
    ) -> None:
        """`revoke` makes these keys void at the server; it may block, and has its own thread.

        `desk` looks at what people log in with; without one the mesh believes no issuer. `seal`:
        how what is kept is known to be a registrar's.
        """
        self._seal = seal or Open()
        self._link = link
        self._registrar = registrar
        self._roll = registrar.roll
        self._revoke = revoke
        self._clock = clock
        self._desk = desk or Desk(dict)
        self._complaints = Complaints(_log.warning)
        self._buckets = {name: link.key_value(name) for name in _BUCKETS}
        self._agents = link.key_value(subjects.AGENTS_BUCKET)
        self._waiting: collections.deque[_Asked] = collections.deque()
        self._asking: collections.Counter[str] = collections.Counter()
        self._busy = False

    def start(self) -> None:
        """Learn what the buckets have, then hear requests. Blocks until it does; `MeshError`."""
        heard = threading.Event()
        self.listen(heard.set)
        if not heard.wait(READ_S):
            raise MeshError(f"who was let in could not be read within {READ_S:.0f} s")

    def listen(self, listening: Callable[[], None] = lambda: None) -> None:
        """As `start`, but return at once; `listening` is called when requests are heard."""
        missing = set(_BUCKETS)

        def read(name: str) -> None:
            missing.discard(name)
            if not missing:
                self._tidy()
                self._link.subscribe(subjects.all_enrolments(), self._heard)
                listening()

        for name, bucket in self._buckets.items():
            bucket.watch(partial(self._seen, name, partial(read, name)))

    def _tidy(self) -> None:
        """Remove join tokens that have expired long since: there is no end of them."""
        for number in self._roll.stale(int(self._clock())):
            self._buckets[subjects.TOKENS_BUCKET].delete(number, lambda _: None)

    def _seen(self, bucket: str, told_all: Callable[[], None], entry: Entry | None) -> None:
        if entry is None:
            told_all()
        elif entry.revision > self._roll.revision(bucket, entry.key):
            # What we have written ourselves comes back, and may be behind the next write.
            self._learn(bucket, entry)

    def _learn(self, bucket: str, entry: Entry) -> None:
        if entry.value is None:
            self._roll.forget(bucket, entry.key)
            return
        users = bucket == subjects.USERS_BUCKET
        try:
            data = self._seal.read(bucket, entry.key, entry.value)
            value = (messages.decode_user if users else messages.decode_token)(data)
        except ProtocolError as error:
            _log.warning("%s in bucket %s: %s", entry.key, bucket, error)
            self._roll.spoil(bucket, entry.key, entry.revision)
            return
        self._roll.learn(Write(bucket, entry.key, value, 0), entry.revision)

    # -- one request after the other ---------------------------------------------------------

    def _heard(self, message: Message) -> None:
        what, speaker = subjects.enrolment_parts(message.subject)
        root = (subjects.told_root if what == "admin" else subjects.inbox_root)(speaker)
        if not message.reply.startswith(f"{root}."):
            odd = f"{speaker} asked to be answered at {message.reply[:200]!r}"
            self._complaints.say(odd, self._clock())
            return
        if self._asking[speaker] >= (MOST_JOINING if what == "join" else MOST_WAITING):
            # Unanswered, for that is work as well: who means it asks again.
            self._complaints.say(f"{what} of {speaker}: too many wait already", self._clock())
            return
        try:
            request = messages.decode_request(message.payload)
        except ProtocolError as error:
            self._answer(message.reply, refusal("unreadable", str(error), int(self._clock())))
            return
        if what == "login" and isinstance(request, Login):
            answered = partial(self._looked_at, speaker, message.reply)
            self._desk.look(
                request.token, speaker, lambda found: self._link.post(partial(answered, found))
            )
            return
        self._wait(_Asked(what, speaker, request, message.reply))

    def _wait(self, asked: _Asked) -> None:
        self._asking[asked.speaker] += 1
        self._waiting.append(asked)
        self._next()

    def _looked_at(self, speaker: str, reply: str, found: Person | MeshError) -> None:
        """Go on with a login, now that it is known whom its token vouches for."""
        if isinstance(found, Person):
            self._wait(_Asked("login", speaker, found, reply))
            return
        now = self._clock()
        self._complaints.say(f"login of {speaker}: refused, {found}", now)
        no = found if isinstance(found, EnrolmentError) else _UNREADABLE
        self._answer(reply, refused(no, int(now)))

    def _next(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            self._begin(self._waiting.popleft())

    def _begin(self, asked: _Asked) -> None:
        """Decide a request, once it is known whether the name that it asks for is an agent's."""
        name = asked.request.name if isinstance(asked.request, Join | Person) else ""
        if not subjects.is_name(name):
            self._decide(asked, TRIES)
            return

        def looked(found: Entry | MeshError | None) -> None:
            if isinstance(found, MeshError):
                self._fail(asked, found)
                return
            self._roll.saw_agent(name, found is not None)
            self._decide(asked, TRIES)

        self._agents.get(name, looked)

    def _decide(self, asked: _Asked, tries: int) -> None:
        now = int(self._clock())
        if not tries:
            self._end(
                asked, refusal("busy", "others were quicker, again and again: ask again", now)
            )
            return
        if asked.what in BELIEVING and not self._believe(asked):
            return
        decision = self._registrar.decide(asked.what, asked.speaker, asked.request, now)
        self._write(asked, tries, decision, 0)

    def _believe(self, asked: _Asked) -> bool:
        """Have the registrar know whom the mesh believes by now; else answer that it cannot."""
        try:
            self._registrar.believe(self._desk.believed())
        except MeshError as error:
            _log.warning("%s of %s: %s", asked.what, asked.speaker, error)
            if asked.what == "login":
                self._end(asked, refused(_UNREADABLE, int(self._clock())))
                return False
            # Who stays does so as it was known before.
        return True

    def _write(self, asked: _Asked, tries: int, decision: Decision, number: int) -> None:
        if number == len(decision.writes):
            self._done(asked, decision)
            return
        write = decision.writes[number]
        bucket = self._buckets[write.bucket]
        data = self._seal.put(write.bucket, write.key, messages.encode(write.value))

        def written(outcome: int | MeshError | None) -> None:
            if isinstance(outcome, int):
                self._roll.learn(write, outcome)
                self._write(asked, tries, decision, number + 1)
            elif outcome is None:
                bucket.get(write.key, read)
            else:
                # It may have been made: who asks again with the same key is told the same.
                self._fail(asked, outcome)

        def read(found: Entry | MeshError | None) -> None:
            if isinstance(found, MeshError):
                self._fail(asked, found)
                return
            if found is None:
                self._roll.forget(write.bucket, write.key)
            else:
                self._learn(write.bucket, found)
            self._decide(asked, tries - 1)

        if write.revision:
            bucket.update(write.key, data, write.revision, written)
        else:
            bucket.create(write.key, data, written)

    def _done(self, asked: _Asked, decision: Decision) -> None:
        if decision.put is not None:
            self._put(asked, decision, decision.put)
            return
        if not decision.revokes:
            self._end(asked, decision.answer)
            return
        void = self._roll.revoked()

        def revoke() -> None:
            try:
                self._revoke(void)
            except MeshError as error:
                self._link.post(partial(self._fail, asked, error))
            else:
                self._link.post(partial(self._end, asked, decision.answer))

        threading.Thread(target=revoke, name="gossamer-revoke", daemon=True).start()

    def _put(self, asked: _Asked, decision: Decision, put: Put) -> None:
        def done(outcome: int | MeshError | None) -> None:
            if isinstance(outcome, MeshError):
                self._fail(asked, outcome)
            else:
                self._end(asked, decision.answer)

        grants = self._link.key_value(subjects.GRANTS_BUCKET)
        if put.jwt is None:
            grants.delete(put.id, done)
        else:
            grants.put(put.id, put.jwt.encode(), done)

    def _fail(self, asked: _Asked, error: MeshError) -> None:
        _log.warning("%s of %s: %s", asked.what, asked.speaker, error)
        self._end(asked, refusal("busy", f"not now ({error}): ask again", int(self._clock())))

    def _end(self, asked: _Asked, answer: Answer) -> None:
        told = f"{asked.what} of {asked.speaker}: {_told(answer)}"
        if asked.what == "login" and not isinstance(answer, Enrolled):
            # Anybody may come, as often as they like.
            self._complaints.say(told, self._clock())
        else:
            _log.info("%s", told)
        self._answer(asked.reply, answer)
        self._asking[asked.speaker] -= 1
        if not self._asking[asked.speaker]:
            del self._asking[asked.speaker]
        self._busy = False
        # Not from within: a thousand that wait would be as many frames.
        self._link.post(self._next)

    def _answer(self, reply: str, answer: Answer) -> None:
        self._link.publish(reply, messages.encode(answer))


def _told(answer: Answer) -> str:
    if isinstance(answer, messages.Refused):
        return f"refused, {answer.message}"
    return f"{type(answer).__name__.lower()} {getattr(answer, 'name', '')}".strip()
