"""The calls that workers have: how they end, how they are taken back, how they are killed."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from msgspec import structs

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.callers import Callers
from gossamer_agent.dispatcher.feeding import TAKE_BACK_S, Feeder
from gossamer_agent.dispatcher.functions import Functions
from gossamer_agent.dispatcher.queue import Item, Waiting
from gossamer_agent.dispatcher.streams import AFTER_S, Stream
from gossamer_agent.dispatcher.workers import Worker, Workers
from gossamer_agent.worker import frames
from gossamer_mesh.units import counted
from gossamer_mesh.wire import Done, Record, Started, Status

STARTED_S: Final = 0.050
"""Before, a caller need not hear that its call is running: the result may be there as soon."""

MOST_RETURNS: Final = 3

_LARGE: Final = frozenset({frames.TOO_LARGE, frames.NO_ROOM})


class Running:
    """Hears what workers report, and decides which calls control may end by killing."""

    def __init__(
        self,
        workers: Workers,
        waiting: Waiting,
        functions: Functions,
        callers: Callers,
        feeder: Feeder,
        *,
        recycle_after: int,
    ) -> None:
        self._workers = workers
        self._waiting = waiting
        self._functions = functions
        self._callers = callers
        self._feeder = feeder
        self._recycle_after = recycle_after
        self._storing: dict[tuple[str, int], tuple[Item, Done, float]] = {}
        self.draining = False

    @property
    def storing(self) -> bool:
        """Whether a result has come and cannot be told of yet."""
        return bool(self._storing)

    def results(self, event: ev.ResultsArrived, now: float, effects: list[ev.Effect]) -> None:
        worker = self._workers.get(event.worker)
        if worker is None:
            return
        running = worker.running
        was_busy = bool(running)
        caller = self._callers.get(worker.key.caller) if worker.key else None
        returned: list[Item] = []
        records: list[Record] = []
        count = 0
        for frame in event.frames:
            status = frame.status
            if caller is None or not running or running[0].seq != frame.seq:
                if status == frames.REVOKED:
                    continue
                # Out of step: whatever it says next cannot be believed.
                self._kill(worker, effects)
                break
            item = running.popleft()
            worker.head_since = now
            if status == frames.REVOKED:
                item.seq = 0
                returned.append(item)
                continue
            cold = (frame.flags & frames.COLD) != 0
            self._learn(item, frame, cold=cold)
            done = Done(
                item.task,
                item.attempt,
                "ok" if status == frames.OK else "error",
                frame.data,
                max(0.0, now - item.arrived - frame.ran_s),
                frame.ran_s,
                worker.pid,
                frame.buffers,
                frame.stdout.decode("utf-8", "replace") if frame.stdout else "",
                frame.stderr.decode("utf-8", "replace") if frame.stderr else "",
                "",
                cold,
                (frame.flags & frames.UNFIT) != 0,
            )
            count += 1
            if status in _LARGE or frame.flags & frames.FILE:
                self._large(item, frame, done, effects)
                continue
            item.ended = True
            caller.ends(item, done, _cpu_s(frame))
            records.append(done)
        worker.calls += count
        worker.spent = worker.calls >= self._recycle_after
        self._feeder.works()
        if records and worker.key:
            effects.append(ev.Reply(worker.key.caller, records))
        if returned:
            self._give_back(returned, now, effects)
        if running:
            if running[0].cancelled:
                self._ask(worker, running[0], "cancelled", effects)
        elif was_busy:
            self._rest(worker, effects)

    def _rest(self, worker: Worker, effects: list[ev.Effect]) -> None:
        """The worker has ended all that it had."""
        worker.revoking = 0
        self._workers.release(worker)
        if worker.spent and not worker.condemned:
            self._workers.condemn(worker)
            effects.append(ev.Retire(worker.number, "it has served its number of calls"))

    def _large(
        self, item: Item, frame: frames.ResultFrame, done: Done, effects: list[ev.Effect]
    ) -> None:
        """A result is in a file, which becomes a blob before its caller is told; or in none."""
        caller = item.key.caller
        if frame.status == frames.OK:
            done = structs.replace(done, payload=b"")
            self._storing[caller, item.task] = item, done, _cpu_s(frame)
            effects.append(ev.Store(caller, item.task, frame.data))
        else:
            told = structs.replace(done, payload=b"", note=_too_large(frame))
            self._tell(item, told, _cpu_s(frame), effects)

    def _tell(self, item: Item, done: Done, cpu_s: float, effects: list[ev.Effect]) -> None:
        item.ended = True
        self._callers.of(item).ends(item, done, cpu_s)
        effects.append(ev.Reply(item.key.caller, [done]))

    def stored(self, event: ev.Stored, now: float, effects: list[ev.Effect]) -> None:
        """A large result can be fetched: now its caller is told."""
        kept = self._storing.pop((event.caller, event.task), None)
        if kept is None:
            return
        item, done, cpu_s = kept
        if event.blob is None:
            self._callers.end(item, "crashed", now, effects, note=event.note)
            return
        # A repetition may have raised the attempt meanwhile.
        told = structs.replace(done, attempt=item.attempt, blob=event.blob)
        self._tell(item, told, cpu_s, effects)

    def listened_to(self, number: int, now: float) -> int:
        """Return the call of this worker that may be heard of now; 0 for none."""
        worker = self._workers.get(number)
        if worker is None or not worker.running or now - worker.head_since < AFTER_S:
            return 0
        head = worker.running[0]
        return head.seq if head.stream is None or head.stream.may_tell(now) else 0

    def printed(self, event: ev.Printed, now: float, effects: list[ev.Effect]) -> None:
        worker = self._workers.get(event.worker)
        if worker is None or not worker.running or worker.running[0].seq != event.seq:
            return
        head = worker.running[0]
        stream = head.stream
        if stream is None:
            stream = head.stream = Stream()
        at_s = now - worker.head_since
        records = stream.records(head.task, head.attempt, at_s, event.pieces, event.said, now)
        # The last goes with the outcome, so that it is there before that, and is there.
        tell = ev.Reply if event.ended else ev.Tell
        effects.append(tell(head.key.caller, records))

    def garbled(self, event: ev.Garbled, _now: float, effects: list[ev.Effect]) -> None:
        worker = self._workers.get(event.worker)
        if worker is not None:
            self._kill(worker, effects)

    def cancel(self, item: Item, why: ev.Why, effects: list[ev.Effect]) -> None:
        """End a call that a worker has; when and how it has ended is told later."""
        item.cancelled = True
        for worker in self._workers:
            if item in worker.running:
                if worker.running[0] is item:
                    self._ask(worker, item, why, effects)
                else:
                    _revoke(worker, effects)

    def look(self, now: float, effects: list[ev.Effect]) -> None:
        """See whose call has been running for too long for something."""
        for worker in self._workers:
            if not worker.running:
                continue
            head = worker.running[0]
            ran_s = now - worker.head_since
            if ran_s > TAKE_BACK_S and len(worker.running) > 1:
                _revoke(worker, effects)
            if ran_s > STARTED_S and not head.started:
                head.started = True
                started = Started(head.task, head.attempt, ran_s)
                effects.append(ev.Reply(head.key.caller, [started]))
            if 0 < head.job.timeout_s < ran_s:
                self._ask(worker, head, "timeout", effects)

    def revoked(self, event: ev.Revoked, now: float, effects: list[ev.Effect]) -> None:
        worker = self._workers.get(event.worker)
        if worker is None or worker.revoking != event.upto:
            return
        worker.revoking = 0
        running = worker.running
        back: list[Item] = []
        while running and running[-1].seq > event.current:
            item = running.pop()
            item.seq = 0
            back.append(item)
        if back and not running:
            self._workers.release(worker)
        back.reverse()
        self._give_back(back, now, effects)
        if running and running[0].cancelled:
            self._ask(worker, running[0], "cancelled", effects)

    def condemned(self, event: ev.Condemned, _now: float, effects: list[ev.Effect]) -> None:
        worker = self._workers.get(event.worker)
        if worker is not None and worker.running and worker.running[0].seq == event.seq:
            self._kill(worker, effects)

    def gone(self, event: ev.WorkerGone, now: float, effects: list[ev.Effect]) -> None:
        worker = self._workers.get(event.worker)
        if worker is None:
            return
        self._workers.remove(worker)
        back: list[Item] = []
        for item in worker.running:
            note = event.cause
            if item.seq > event.current:
                # Who came to another call made headway: that is no end without end.
                item.returns += event.current == 0
                if item.returns <= MOST_RETURNS:
                    item.seq = 0
                    back.append(item)
                    continue
                note = (
                    f"{counted(item.returns, 'worker')} died before coming to it; the last: {note}"
                )
            elif worker.condemned and worker.asked_seq and worker.asked_seq != item.seq:
                note = "its worker was killed because of the call before it"
            status: Status = "crashed"
            if worker.asked_seq == item.seq and worker.why == "timeout":
                status = "timeout"
            elif item.cancelled:
                status = "cancelled"
            self._callers.end(item, status, now, effects, note=note, worker=worker)
        self._give_back(back, now, effects)
        if event.current == 0 and not worker.condemned:
            self._feeder.does_not_work(event.cause, now, effects)

    def _learn(self, item: Item, frame: frames.ResultFrame, *, cold: bool) -> None:
        functions, function = self._functions, item.job.function
        items = item.call.items or 1
        each_s = frame.ran_s / items
        # A first call has imports in it, which those after it have not.
        if not cold or function not in functions.mean_s:
            functions.took(function, each_s)
        if frame.status == frames.OK:
            size = len(frame.data)
            if frame.buffers:
                size += sum(map(len, frame.buffers))
            elif frame.flags & frames.FILE:
                size = _size_of_file(frame.data)
            functions.recorder.took(function, each_s, size // items, cold)

    def _give_back(self, items: list[Item], now: float, effects: list[ev.Effect]) -> None:
        kept: list[Item] = []
        for item in items:
            if item.cancelled:
                self._callers.end(item, "cancelled", now, effects)
            elif self.draining:
                self._callers.refuse(item, "draining", "the agent is leaving the mesh", effects)
            elif item.deadline and item.deadline <= now:
                self._callers.end(item, "expired", now, effects)
            else:
                kept.append(item)
        self._waiting.push_front(kept, now)

    def _ask(self, worker: Worker, item: Item, why: ev.Why, effects: list[ev.Effect]) -> None:
        if worker.asked_seq != item.seq and not worker.condemned:
            worker.asked_seq = item.seq
            worker.why = why
            effects.append(ev.Overdue(worker.number, item.seq, why))

    def _kill(self, worker: Worker, effects: list[ev.Effect]) -> None:
        if not worker.condemned:
            self._workers.condemn(worker)
            effects.append(ev.Kill(worker.number))


def _revoke(worker: Worker, effects: list[ev.Effect]) -> None:
    if not worker.revoking:
        worker.revoking = worker.sent_seq
        effects.append(ev.Revoke(worker.number, worker.sent_seq))


def _cpu_s(frame: frames.ResultFrame) -> float:
    """Return what the worker says that the call took, if it is a time: it runs callers' code."""
    # Not a number compares false.
    return frame.cpu_s if 0.0 <= frame.cpu_s < math.inf else 0.0


def _size_of_file(told: bytes) -> int:
    try:
        size: Any = json.loads(told)["size"]
    except (ValueError, TypeError, KeyError):
        return 0
    return size if isinstance(size, int) else 0


def _too_large(frame: frames.ResultFrame) -> str:
    if frame.status == frames.NO_ROOM:
        return (
            f"the result has no room there: {frame.data[:500].decode('utf-8', 'replace')}. Free "
            "some, or return a path"
        )
    size = frame.data[:20].decode("ascii", "replace")
    return (
        f"the result takes {size} bytes and one message carries {frames.MAX_RESULT_BYTES}: "
        "return a path, or a smaller piece"
    )
