"""The agent's data plane: bytes between NATS and the workers' sockets, in the link's thread.

It performs what the dispatcher decides and decides nothing itself; what concerns processes goes
to the control plane through `told`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.ledger import Ledger
from gossamer_agent.dispatcher.machine import TICK_S, Dispatcher
from gossamer_agent.ear import Ear
from gossamer_agent.pipe import Pipe
from gossamer_agent.worker import frames
from gossamer_mesh import subjects, wire
from gossamer_mesh.complaints import Complaints
from gossamer_mesh.errors import MeshError, ProtocolError
from gossamer_mesh.link import Handle, Lane, Link, Message
from gossamer_mesh.units import counted
from gossamer_placement import coordinates
from gossamer_placement.coordinates import Vivaldi

if TYPE_CHECKING:
    from gossamer_agent.audit import Audit
    from gossamer_agent.cargo import Cargo
    from gossamer_agent.dispatcher.callers import Ended
    from gossamer_agent.handset import Handset
    from gossamer_agent.policy import Policy

REVOKE_S: Final = 0.002
"""Between forbidding a worker to start calls and reading what it had started: far longer than a
store takes to become visible to another core."""

BEAT_AT_MOST_EVERY_S: Final = 1.0
CHARACTER_BYTES: Final = 4
READ_BYTES: Final = 256 * 1024
RECORD_BYTES: Final = 64
RESULT_BYTES: Final = wire.MAX_MESSAGE_BYTES - 4096

Notice = ev.Spawn | ev.Retire | ev.Overdue | ev.Kill | ev.Drained | ev.DrainAsked

_log = logging.getLogger("gossamer.agent")


class _Attached:
    """A worker's ends on this side."""

    def __init__(self, hands: Handset, lane: Lane, reader: frames.Reader) -> None:
        self.hands = hands
        self.ear = Ear(hands)
        self.lane = lane
        self.reader = reader
        self.pipes: list[tuple[Lane, Pipe]] = []
        self.garbled = False


class DataPlane:
    """Construct anywhere, then everything happens in the link's thread.

    `cargo` is to be set before `open`, where large payloads are to be taken; `policy`, the
    dispatcher's own, where it matters who calls; `book`, where it notes ends, with an `audit`.
    """

    def __init__(
        self,
        link: Link,
        dispatcher: Dispatcher,
        *,
        name: str,
        site: str,
        incarnation: int,
        interval_s: float,
        output: int,
        told: Callable[[list[Notice]], None],
    ) -> None:
        self._link = link
        self._dispatcher = dispatcher
        self._name = name
        self._site = site
        self._incarnation = incarnation
        self._interval_s = interval_s
        self._output = output
        self._told = told
        self.cargo: Cargo | None = None
        self.policy: Policy | None = None
        self.audit: Audit | None = None
        self.book: list[Ended] = []
        self._workers: dict[int, _Attached] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._unsent: dict[str, list[wire.Record]] = {}
        self._flushing = False
        self._left: set[str] = set()
        self._ticking = False
        self._saying: Handle | None = None
        self._closed = False
        self._handles: list[Handle] = []
        self._revision = 0
        self._place = Vivaldi(incarnation)
        self._last_beat = -BEAT_AT_MOST_EVERY_S
        self._last_load = (-1, -1)
        self.rejected = 0
        self._garbage = Complaints(_log.warning)
        self._unanswered = Complaints(_log.warning)

    def open(self) -> None:
        """Listen for calls and control messages. Any thread."""
        subscribe = self._link.subscribe
        self._handles = [
            subscribe(subjects.all_runs(self._name), self._run),
            subscribe(subjects.all_controls(self._name), self._control),
        ]

    def close(self) -> None:
        """Listen no more, and let no timer publish. Any thread."""
        self._closed = True
        for handle in self._handles:
            handle.cancel()

    def beat(self, revision: int | None = None) -> None:
        """Publish a heartbeat now; `revision` is that of a new capability document."""
        if revision is not None:
            self._revision = revision
        # An idle agent has no ticks of its own, and leases run out on it as well.
        self.step(ev.Tick())
        self.write_down()
        state = self._dispatcher.state()
        self._last_beat = now = self._link.now()
        self._garbage.look(now)
        self._unanswered.look(now)
        self._last_load = (state.free, state.queued)
        self._forget_the_silent()
        beat = wire.Heartbeat(
            self._name,
            self._site,
            self._incarnation,
            self._revision,
            self._interval_s,
            state,
            coordinates.to_wire(self._place.coordinate),
        )
        self._link.publish(subjects.heartbeat(self._site, self._name), wire.encode(beat))

    # -- from callers ------------------------------------------------------------------------

    def _run(self, message: Message) -> None:
        try:
            run = wire.decode_run(message.payload)
        except ProtocolError as error:
            self._reject(message, error)
            return
        caller = subjects.speaker(message.subject, self._name)
        if self._left:
            self._left.discard(caller)
        at = time.time() if self.policy is not None else 0.0
        self.step(ev.RunArrived(caller, run, at))

    def _control(self, message: Message) -> None:
        try:
            asked = wire.decode_control(message.payload)
        except ProtocolError as error:
            self._reject(message, error)
            return
        caller = subjects.speaker(message.subject, self._name)
        match asked:
            case wire.Ping():
                self._ping(caller, asked)
            case wire.Cancel():
                self.step(ev.CancelAsked(caller, asked.tasks))
            case wire.Return():
                self.step(ev.ReturnAsked(caller, asked.tasks))
            case wire.Resend():
                self._resend(caller, asked)
            case wire.Code():
                self.step(ev.CodeArrived(caller, asked.function, asked.code))
            case wire.Leave():
                self._left.add(caller)
                self.step(ev.CallerLeft(caller))
                self._ledgers.pop(caller, None)
                if self.cargo is not None:
                    self.cargo.forget(self._dispatcher.knows)
                    self._count_untaken()
            case wire.Drain():
                if self.policy is None or self.policy.is_admin(caller, time.time()):
                    self._told([ev.DrainAsked()])
                else:
                    _log.warning("%s may not have this agent leave, and asked for it", caller)
            case wire.Hello():
                self._met(caller, asked.jwt)
            case _:
                assert_never(asked)

    def _met(self, caller: str, jwt: str) -> None:
        doubt = self.policy.met(caller, jwt, time.time()) if self.policy is not None else ""
        if doubt:
            _log.warning("%s is not believed: %s", caller, doubt)

    def _ping(self, caller: str, ping: wire.Ping) -> None:
        self._left.discard(caller)
        self.step(ev.CallerHeard(caller, ping.lease_s))
        ours = ping.incarnation == self._incarnation
        tasks = self._ledger(caller).acked(ping.acked) if ours else []
        here = coordinates.to_wire(self._place.coordinate)
        pong = wire.Pong(ping.number, self._dispatcher.owed(caller), here)
        # The caller measures how long this takes, so it waits for no flush. What is unsent goes
        # before it: that may be the outcome of a call that is no longer counted as owed.
        self._send_all(caller, [*self._unsent.pop(caller, ()), pong])
        if tasks:
            self.step(ev.CallerAcked(caller, tasks))
        for task in ping.taken if ours else ():
            self.taken(caller, task)
        there = coordinates.from_wire(ping.coordinate)
        if there is not None and ping.rtt_s > 0.0:
            self._place.learn(there, ping.rtt_s)

    def _reject(self, message: Message, error: ProtocolError) -> None:
        self.rejected += 1
        line = f"a message on {message.subject} was ignored: {error}"
        self._garbage.say(line, self._link.now())

    def _resend(self, caller: str, asked: wire.Resend) -> None:
        if asked.incarnation != self._incarnation:
            return
        ledger = self._ledger(caller)
        # Who asks for what was never sent was told of it by somebody else: to say that it is gone
        # would have the caller take what we send under these numbers for what it has had.
        last = min(asked.last, ledger.last_seq)
        if asked.first > last:
            return
        messages, complete = ledger.again(asked.first, last)
        for data in messages:
            self._link.publish(subjects.out(caller, self._name), data)
        if not complete:
            self._reply(caller, [wire.Gone(asked.first, last)])

    # -- from and to workers -----------------------------------------------------------------

    def attach(self, hands: Handset) -> None:
        """A worker was forked: take its ends over."""
        number = hands.worker

        def received(data: bytes) -> None:
            self._received(number, data)

        attached = _Attached(
            hands, self._link.lane(hands.sock, received, lambda: None), frames.Reader()
        )
        for pipe in (hands.stdout, hands.stderr):
            lane = self._link.lane(pipe.stream, pipe.keep, lambda: None)
            attached.pipes.append((lane, pipe))
        self._workers[number] = attached
        self.step(ev.WorkerUp(number, hands.pid))

    def ended(self, number: int, cause: str) -> None:
        """A worker is seen to have ended: read what it still sent, then let go of it."""
        attached = self._workers.get(number)
        if attached is None:
            return
        hands = attached.hands
        with contextlib.suppress(OSError):
            while data := hands.sock.recv(READ_BYTES):
                self._received(number, data)
        current = hands.page.current
        said = hands.stderr.take(self._output).decode("utf-8", "replace").strip()
        hands.stdout.take(self._output)
        last = attached.ear.last(current)
        attached.lane.close()
        for lane, _ in attached.pipes:
            lane.close()
        hands.page.close()
        del self._workers[number]
        if self.cargo is not None:
            self.cargo.ended(number)
        if said:
            cause = f"{cause}; it said: {said[-2000:]}"
            _log.info("worker %d has ended: %s", hands.pid, cause)
        if last is not None:
            self.step(last)
        self.step(ev.WorkerGone(number, current, cause))

    def _received(self, number: int, data: bytes) -> None:
        attached = self._workers[number]
        if attached.garbled:
            return
        try:
            got = attached.reader.feed(data)
        except ValueError as error:
            _log.warning("worker %d is killed: %s", attached.hands.pid, error)
            attached.garbled = True
            self.step(ev.Garbled(number))
            return
        results = [frame for frame in got if type(frame) is frames.ResultFrame]
        if results:
            self._add_output(attached, results)
            # With nothing else under way nothing can join this answer: it goes at once.
            self._flushing = True
            rest = attached.ear.rest(results)
            if rest is not None:
                self.step(rest)
            self.step(ev.ResultsArrived(number, results))
            if self._dispatcher.busy:
                self._link.post(self._flush)
            else:
                self._flush()

    def _add_output(self, attached: _Attached, results: list[frames.ResultFrame]) -> None:
        # Programs that a call started write to the descriptors, not to sys.stdout. What they
        # wrote before the result was sent is in the pipes by now.
        if not attached.hands.printed():
            return
        stdout = attached.hands.stdout.take(self._output)
        stderr = attached.hands.stderr.take(self._output)
        if stdout or stderr:
            last = results[-1]
            results[-1] = last._replace(stdout=last.stdout + stdout, stderr=last.stderr + stderr)

    # -- the machine -------------------------------------------------------------------------

    def step(self, event: ev.Event) -> None:
        """Let the dispatcher hear of something, and do what it decides."""
        self.perform(self._dispatcher.step(event, self._link.now()))

    def statistics(self) -> bytes | None:
        """Return what has changed of the functions' statistics, to be published; None: nothing."""
        return self._dispatcher.statistics()

    def keep_warm(self) -> None:
        self.perform(self._dispatcher.keep_warm(self._link.now()))

    def perform(self, effects: Iterable[ev.Effect]) -> None:
        notices: list[Notice] = []
        for effect in effects:
            match effect:
                case ev.ToWorker():
                    self._workers[effect.worker].lane.write(effect.data)
                case ev.Reply():
                    self._reply(effect.caller, effect.records)
                case ev.Tell():
                    self._tell(effect.caller, effect.records)
                case ev.Fetch() | ev.Store():
                    self._loaded(effect)
                case ev.Revoke():
                    self._revoke(effect)
                case _:
                    notices.append(effect)
        if notices:
            self._told(notices)
        if not self._ticking and self._dispatcher.busy:
            self._ticking = True
            self._link.call_later(TICK_S, self._tick)

    def _loaded(self, effect: ev.Fetch | ev.Store) -> None:
        assert self.cargo is not None, "only what has a cargo is given large payloads"
        if isinstance(effect, ev.Fetch):
            # What calls have just let go of may make room for it.
            self.cargo.release(self._dispatcher.unused())
            self.cargo.fetch(effect, self.step)
        else:
            self.cargo.store(effect, self._stored)

    def _stored(self, event: ev.Event) -> None:
        self._count_untaken()
        self.step(event)

    def taken(self, caller: str, task: int, digest: bytes = b"") -> None:
        """A caller has fetched a large result; see `Cargo.taken`."""
        if self.cargo is not None:
            self.cargo.taken(caller, task, digest)
            self._count_untaken()

    def _count_untaken(self) -> None:
        assert self.cargo is not None
        before, self._dispatcher.untaken = self._dispatcher.untaken, self.cargo.untaken
        if before and not self._dispatcher.untaken:
            self.step(ev.ResultTaken())

    def _revoke(self, effect: ev.Revoke) -> None:
        number = effect.worker
        page = self._workers[number].hands.page
        page.revoked_upto = effect.upto

        def look() -> None:
            if number in self._workers:
                self.step(ev.Revoked(number, page.current, effect.upto))

        self._link.call_later(REVOKE_S, look)

    def _tick(self) -> None:
        self._ticking = False
        if self._closed:
            return
        self.step(ev.Tick())
        self.write_down()
        self._listen()
        if self.cargo is not None:
            self.cargo.release(self._dispatcher.unused())
            if self._left and not all(map(self._dispatcher.knows, self._left)):
                # The last call of one that has left has ended: what it brought goes with it.
                self._forget_the_silent()
            self._count_untaken()
        if self._saying is None:
            self._say_load()

    def write_down(self) -> None:
        """Hand over to the audit which calls have ended."""
        if self.book and self.audit is not None:
            self.audit.take(self.book.copy())
            self.book.clear()

    def _listen(self) -> None:
        now = self._link.now()
        for number, attached in list(self._workers.items()):
            if attached.ear.stirs():
                seq = self._dispatcher.listened_to(number, now)
                heard = attached.ear.listen(seq) if seq else None
                if heard is not None:
                    self.step(heard)

    def _say_load(self) -> None:
        """Beat when the load has changed, at most so often; later rather than not at all."""
        self._saying = None
        state = self._dispatcher.state()
        if self._closed or (state.free, state.queued) == self._last_load:
            return
        due_s = self._last_beat + BEAT_AT_MOST_EVERY_S - self._link.now()
        if due_s <= 0:
            self.beat()
        else:
            self._saying = self._link.call_later(due_s, self._say_load)

    def _forget_the_silent(self) -> None:
        knows = self._dispatcher.knows
        if self.cargo is not None:
            self.cargo.forget(knows)
            self._count_untaken()
        self._left = {caller for caller in self._left if knows(caller)}
        for caller, ledger in self._ledgers.items():
            if not knows(caller):
                ledger.forget()

    # -- to callers --------------------------------------------------------------------------

    def _ledger(self, caller: str) -> Ledger:
        ledger = self._ledgers.get(caller)
        if ledger is None:
            ledger = self._ledgers[caller] = Ledger()
        return ledger

    def _reply(self, caller: str, records: list[wire.Record]) -> None:
        if caller in self._left:
            return
        if not self._flushing and not self._unsent:
            self._flushing = True
            self._link.post(self._flush)
        unsent = self._unsent.get(caller)
        if unsent is None:
            self._unsent[caller] = list(records)
        else:
            unsent.extend(records)

    def _flush(self) -> None:
        self._flushing = False
        unsent, self._unsent = self._unsent, {}
        for caller, records in unsent.items():
            self._send_all(caller, records)

    def _send_all(self, caller: str, records: list[wire.Record]) -> None:
        batch: list[wire.Record] = []
        size = 0
        for record in records:
            fitting, record_size = _fit(record)
            if batch and size + record_size > wire.BATCH_BYTES:
                self._send(caller, batch)
                batch, size = [], 0
            batch.append(fitting)
            size += record_size
        self._send(caller, batch)

    def _tell(self, caller: str, records: list[wire.Record]) -> None:
        """Send what may be lost. It has no number, so nobody asks for it again."""
        if caller in self._left:
            return
        out = wire.Out(0, self._incarnation, self._dispatcher.state(), records)
        self._publish(caller, wire.encode(out))

    def _send(self, caller: str, records: list[wire.Record]) -> None:
        ledger = self._ledger(caller)
        seq = ledger.next_seq()
        out = wire.Out(seq, self._incarnation, self._dispatcher.state(), records)
        data = wire.encode(out)
        dropped = ledger.keep(seq, data, records)
        self._publish(caller, data)
        if dropped:
            self.step(ev.ResultsDropped(caller, dropped))

    def _publish(self, caller: str, data: bytes) -> None:
        try:
            self._link.publish(subjects.out(caller, self._name), data)
        except MeshError as error:
            self._unanswered.say(f"an answer to {caller} was not sent: {error}", self._link.now())


def _fit(record: wire.Record) -> tuple[wire.Record, int]:
    """Return a record that one message can carry, and about how many bytes it takes."""
    if type(record) is wire.Log:
        return record, RECORD_BYTES + len(record.text) * CHARACTER_BYTES
    if type(record) is not wire.Done:
        return record, RECORD_BYTES
    size = RECORD_BYTES + len(record.payload) + len(record.note)
    if record.buffers:
        size += sum(map(len, record.buffers))
    output = (len(record.stdout) + len(record.stderr)) * CHARACTER_BYTES
    if size + output <= RESULT_BYTES:
        return record, size + output
    if size <= RESULT_BYTES:
        return _without_output(record), size
    note = (
        f"the result takes {size} bytes and one message carries {RESULT_BYTES}: "
        "return a path, or a smaller piece"
    )
    too_large = msgspec.structs.replace(
        record, status="error", payload=b"", buffers=(), stdout="", stderr="", note=note
    )
    return too_large, RECORD_BYTES + len(note)


def _without_output(record: wire.Done) -> wire.Done:
    # The result is what the call was for.
    count = counted(len(record.stdout), "character")
    left_out = f"[{count} left out: the result is too large for more]"
    return msgspec.structs.replace(record, stdout=left_out, stderr="")
