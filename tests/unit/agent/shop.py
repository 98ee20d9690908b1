"""A dispatcher on virtual time, among workers and a control plane that do as a test tells them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.machine import TICK_S, Dispatcher
from gossamer_agent.worker import frames
from gossamer_mesh import wire

INCARNATION = 7


def code_of(name):
    return f"the code of {name}".encode()


def digest_of(name):
    return hashlib.blake2b(code_of(name), digest_size=frames.DIGEST_BYTES).digest()


def job_of(name="f", *, with_code=True, **demand):
    return wire.Job(digest_of(name), name, code=code_of(name) if with_code else b"", **demand)


def result(
    seq,
    *,
    ran_s=0.1,
    cpu_s=0.1,
    status=frames.OK,
    data=b"value",
    stdout=b"",
    stderr=b"",
    flags=0,
):
    return frames.ResultFrame(seq, status, ran_s, data, (), stdout, stderr, flags, cpu_s)


class Hand:
    """A worker as it sees itself: what it was sent, and which calls it has not answered."""

    def __init__(self):
        self.reader = frames.Reader()
        self.calls = []
        self.code = {}
        self.includes = {}
        self.settings = None

    def take(self, data):
        for frame in self.reader.feed(data):
            match frame:
                case frames.CallFrame():
                    self.calls.append(frame)
                case frames.FunctionFrame():
                    assert frame.function not in self.code, "code is sent once"
                    self.code[frame.function] = frame.code
                case frames.IncludeFrame():
                    assert self.settings is not None, "a worker knows first whose it is"
                    assert frame.digest not in self.includes, "an include is sent once"
                    self.includes[frame.digest] = frame.content
                case frames.BindFrame():
                    assert self.settings is None, "a worker is bound once"
                    self.settings = json.loads(frame.settings)

    @property
    def functions(self):
        return list(self.code)

    @property
    def seqs(self):
        return [frame.seq for frame in self.calls]


class Shop:
    """Steps the dispatcher; what it wants is in `hands`, in `said` by caller, or in `control`."""

    def __init__(self, *, slots=1, room=1000, workers=0, warm=0, **options):
        self.machine = Dispatcher(INCARNATION, slots=slots, room=room, warm=warm, **options)
        self.now = 100.0
        self._numbers = 0
        self.hands = {}
        self.said = defaultdict(list)
        self.control = []
        self.history = []
        for _ in range(workers):
            self.up()

    # -- what happens ------------------------------------------------------------------------

    def step(self, event):
        effects = self.machine.step(event, self.now)
        self.history.append(effects)
        for effect in effects:
            match effect:
                case ev.ToWorker(worker=worker, data=data):
                    self.hands[worker].take(data)
                case ev.Reply(caller=caller, records=records):
                    self.said[caller] += records
                case _:
                    self.control.append(effect)
        return effects

    def submit(
        self, *tasks, caller="ann", attempt=1, incarnation=INCARNATION, left_s=0.0, job=None
    ):
        calls = [wire.Call(task, attempt, b"arguments", left_s=left_s) for task in tasks]
        return self.step(ev.RunArrived(caller, wire.Run(incarnation, job or job_of(), calls)))

    def teach(self, name="f", ran_s=0.001):
        """Let the dispatcher learn how long `name` takes, by a call of one who then leaves.

        Before there are workers: the one that serves it leaves, too.
        """
        worker = self.up(1_000_000)
        self.submit(999_999, caller="teacher", job=job_of(name))
        self.finish(worker, ran_s=ran_s)
        self.step(ev.CallerLeft("teacher"))
        self.gone(worker)
        self.control.clear()

    def up(self, number=0):
        """Bring a worker up: number 1, then 2, and so on."""
        if not number:
            self._numbers += 1
            number = self._numbers
        self.hands[number] = Hand()
        self.step(ev.WorkerUp(number, 1000 + number))
        return number

    def finish(self, worker, count=1, **outcome):
        """The worker ends its next calls; they are reported together."""
        hand = self.hands[worker]
        ended, hand.calls = hand.calls[:count], hand.calls[count:]
        assert len(ended) == count, f"worker {worker} has {len(ended)} calls"
        return self.step(
            ev.ResultsArrived(worker, [result(frame.seq, **outcome) for frame in ended])
        )

    def gone(self, worker, current=None, cause="killed by SIGSEGV"):
        """The worker dies in its first unanswered call, unless `current` says otherwise."""
        hand = self.hands.pop(worker)
        if current is None:
            current = hand.calls[0].seq if hand.calls else 1
        return self.step(ev.WorkerGone(worker, current, cause))

    def wait(self, seconds):
        """Let time pass, with the ticks that it brings."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.now = min(until, self.now + TICK_S)
            self.step(ev.Tick())

    # -- what has come of it -----------------------------------------------------------------

    def tasks_of(self, worker):
        """The tasks that a worker has, by the order in which it was given them."""
        inside = self.machine._workers.get(worker)
        return [item.task for item in inside.running]

    def outcomes(self, caller="ann"):
        return {
            record.task: record.status
            for record in self.said[caller]
            if isinstance(record, wire.Done)
        }

    def refusals(self, caller="ann"):
        return {
            record.task: record.reason
            for record in self.said[caller]
            if isinstance(record, wire.Refused)
        }

    def records(self, kind, caller="ann"):
        return [record for record in self.said[caller] if isinstance(record, kind)]

    def wanted(self, kind):
        return [effect for effect in self.control if isinstance(effect, kind)]

    @property
    def queued(self):
        return self.machine.state().queued

    @property
    def free(self):
        return self.machine.state().free
