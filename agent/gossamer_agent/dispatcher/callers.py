"""What each caller has here, what has become of what it had, and how long it may be silent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from gossamer_agent.dispatcher.events import Effect, Reply
from gossamer_agent.dispatcher.queue import Item
from gossamer_agent.dispatcher.workers import Worker
from gossamer_mesh.wire import Accepted, Call, Done, Job, Record, Refusal, Refused, Status

ENDED_KEPT: Final = 65_536
REFUSED_KEPT: Final = 16_384
LEASE_S: Final = 30.0
"""For a caller that has not said otherwise."""

LONGEST_LEASE_S: Final = 7 * 86_400.0
_ACKED: Final = "its caller has this outcome"
_DROPPED: Final = "it has run, but its outcome was not fetched in time and is no longer kept"


class Ended(NamedTuple):
    """How an attempt has ended, without its payload. `cpu_s`: as far as it is known, else wall."""

    caller: str
    job: Job
    task: int
    attempt: int
    outcome: Status
    ran_s: float
    cpu_s: float


class Caller:
    """One caller. By task: `live`, its attempts here; `ended`, the last outcomes; `refused`.

    The last refusals are kept because a message can arrive twice: a caller that has heard a
    refusal places the call elsewhere, and it must not run here as well.
    """

    def __init__(self, book: list[Ended] | None = None) -> None:
        self.lease_s = LEASE_S
        self._book = book
        self.silent_until = 0.0
        self.abandoned = False
        self.live: dict[int, Item] = {}
        # Of a plain dict the oldest is found by passing over all that were before it.
        self.ended: OrderedDict[int, Done] = OrderedDict()
        self.refused: OrderedDict[int, Refused] = OrderedDict()

    def heard(self, now: float) -> None:
        """Anything that a caller sends is a sign of life."""
        self.silent_until = now + self.lease_s
        self.abandoned = False

    def repeated(self, call: Call, records: list[Record]) -> bool:
        """Tell whether this attempt must not be run (again); answer it in `records`."""
        live = self.live.get(call.task)
        if live is not None:
            if call.attempt < live.attempt:
                return True
            if call.attempt > live.attempt and live.cancelled:
                refused = self.refused.get(call.task)
                if refused is None or refused.attempt < call.attempt:
                    refused = self.refuses(
                        Refused(
                            call.task, call.attempt, "full", "its earlier attempt is being ended"
                        )
                    )
                if refused.attempt == call.attempt:
                    records.append(refused)
                return True
            # A caller that lost sight of us counts on; what runs already is what it wants.
            live.attempt = call.attempt
            records.append(Accepted(call.task, call.attempt))
            return True
        refused = self.refused.get(call.task)
        if refused is not None and call.attempt == refused.attempt:
            records.append(refused)
            return True
        done = self.ended.get(call.task)
        if done is None or call.attempt > done.attempt:
            return refused is not None and call.attempt < refused.attempt
        if call.attempt == done.attempt and done.note != _ACKED:
            records.append(done)
        return True

    def ends(self, item: Item, done: Done, cpu_s: float) -> None:
        self.live.pop(item.task, None)
        if item.meters:
            for meter in item.meters:
                meter.ended(cpu_s)
        if self._book is not None:
            self._book.append(
                Ended(
                    item.key.caller,
                    item.job,
                    done.task,
                    done.attempt,
                    done.status,
                    done.ran_s,
                    cpu_s,
                )
            )
        ended = self.ended
        ended[item.task] = done
        if len(ended) > ENDED_KEPT:
            ended.popitem(last=False)

    def refuses(self, refused: Refused) -> Refused:
        """Keep a refusal, the newest of its task; return it."""
        kept = self.refused
        # As the newest: a task that is refused again and again must not be the next to go.
        kept.pop(refused.task, None)
        kept[refused.task] = refused
        if len(kept) > REFUSED_KEPT:
            kept.popitem(last=False)
        return refused

    def acked(self, tasks: Sequence[int]) -> None:
        """Let go of the payloads; that the attempts have run is remembered for longer."""
        for task in tasks:
            done = self.ended.get(task)
            if done is not None:
                self.ended[task] = Done(done.task, done.attempt, "error", note=_ACKED)

    def dropped(self, tasks: Sequence[int]) -> None:
        """Let go of the payloads; who asks again hears that the outcome is lost."""
        for task in tasks:
            done = self.ended.get(task)
            if done is not None and done.note != _ACKED:
                self.ended[task] = Done(done.task, done.attempt, "crashed", note=_DROPPED)


class Callers:
    """All callers that are heard of, or have something here.

    `book`: where all ends are to be noted, if anywhere; whoever has it empties it.
    """

    def __init__(self, book: list[Ended] | None = None) -> None:
        self._book = book
        self._all: dict[str, Caller] = {}

    def get(self, name: str) -> Caller | None:
        return self._all.get(name)

    def meet(self, name: str, now: float) -> Caller:
        """Return the caller, who has just been heard."""
        caller = self._all.get(name)
        if caller is None:
            caller = self._all[name] = Caller(self._book)
        caller.heard(now)
        return caller

    def of(self, item: Item) -> Caller:
        """Return whose item this is: nobody is forgotten who has something here."""
        return self._all[item.key.caller]

    def forget_if_done(self, name: str) -> bool:
        """Forget a caller that has nothing left here; say whether that is so."""
        caller = self._all.get(name)
        if caller is None or caller.live:
            return False
        del self._all[name]
        return True

    def silent(self, now: float) -> list[str]:
        """Return who is to be given up: silent for longer than agreed, or not known to be gone.

        And who was given up, once the last of what it had here has ended: to be forgotten.
        """
        return [
            name
            for name, caller in self._all.items()
            if (not caller.live if caller.abandoned else caller.silent_until < now)
        ]

    def refuse(self, item: Item, reason: Refusal, detail: str, effects: list[Effect]) -> None:
        """Give an attempt back that has not been started: it was never here."""
        item.ended = True
        for meter in item.meters:
            meter.returned()
        caller = self.of(item)
        del caller.live[item.task]
        refused = caller.refuses(Refused(item.task, item.attempt, reason, detail))
        effects.append(Reply(item.key.caller, [refused]))

    def end(
        self,
        item: Item,
        status: Status,
        now: float,
        effects: list[Effect],
        *,
        note: str = "",
        worker: Worker | None = None,
    ) -> None:
        """End an attempt without a result. `worker`: where it ran, if it was started."""
        ran_s = now - worker.head_since if worker is not None else 0.0
        done = Done(
            item.task,
            item.attempt,
            status,
            queued_s=max(0.0, now - item.arrived - ran_s),
            ran_s=ran_s,
            worker=worker.pid if worker is not None else 0,
            note=note,
        )
        item.ended = True
        # What was killed did not say what it took: as much as it could have.
        self.of(item).ends(item, done, ran_s * item.key.cpus)
        effects.append(Reply(item.key.caller, [done]))
