"""A continuum in one heap of events: the real keeper, the real dispatchers, simulated workers.

The network between them loses, doubles, delays and cuts; agents are killed and come back in a new
incarnation. One seed, one history: `trace` is the same each time.
"""

from __future__ import annotations

import collections
import hashlib
import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from gossamer.effects import Effect, Ended, Running, SendControl, SendRun
from gossamer.keeper import Keeper
from gossamer.work import Job, Work, new_work
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.ledger import Ledger
from gossamer_agent.dispatcher.machine import TICK_S, Dispatcher
from gossamer_agent.worker import frames
from gossamer_mesh import wire
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.membership import Changed, Dead, Joined, Membership, Reincarnated, Suspect
from gossamer_mesh.membership import Event as MembershipEvent
from gossamer_placement.model import Demand, Hint

CALLER = "c"
BEAT_S = 2.0
FORK_S = 0.03
KILL_S = 0.002
REVOKE_S = 0.002
CALLER_TICK_S = 0.1

CODE = b"code"
FUNCTION = hashlib.blake2b(CODE, digest_size=frames.DIGEST_BYTES).digest()


class Weather(msgspec.Struct, frozen=True):
    """What the network does to each message."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_s: float = 0.001
    jitter_s: float = 0.0


class Kill(msgspec.Struct, frozen=True):
    """An agent is killed, and back in a new incarnation after so long."""

    agent: int
    at_s: float
    back_after_s: float


class Cut(msgspec.Struct, frozen=True):
    """An agent is cut off from the rest: silence."""

    agent: int
    at_s: float
    for_s: float


class Outage(msgspec.Struct, frozen=True):
    """The server is away; what is on its way is lost, agents are back a little later."""

    at_s: float
    for_s: float


class Cancel(msgspec.Struct, frozen=True):
    """The caller gives a task up."""

    task: int
    at_s: float


Fault = Kill | Cut | Outage | Cancel


class Call(msgspec.Struct, frozen=True):
    """A task: when it comes, how long it runs, how often its worker dies of it, its retries.

    `hedge`: a late one is run twice; `deadline_s`: the time to its result, 0 for none.
    """

    at_s: float = 0.0
    runs_s: float = 0.01
    crashes: int = 0
    retries: int = 2
    hedge: bool = False
    deadline_s: float = 0.0


class Worker:
    """Runs its calls one after the other; `current` and `revoked` are the shared page."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reader = frames.Reader()
        self.calls: collections.deque[frames.CallFrame] = collections.deque()
        self.current = 0
        self.revoked = 0
        self.running = False
        self.gone = False


class Agent:
    """One incarnation of an agent: the dispatcher, and a data plane's part around it."""

    def __init__(self, sim: Continuum, index: int, incarnation: int) -> None:
        self.sim = sim
        self.name = f"a{index}"
        self.alive = True
        self.document = Capabilities(
            agent=self.name,
            site="here",
            incarnation=incarnation,
            revision=1,
            host="h",
            slots=2,
            python="3.11",
        )
        self.dispatcher = Dispatcher(incarnation, slots=2, room=sim.room, warm=1)
        self.workers: dict[int, Worker] = {}
        self.ledger = Ledger()
        self.unsent: list[wire.Record] = []
        self.ticking = False
        self.numbers = itertools.count(1)
        self.perform(self.dispatcher.keep_warm(sim.now))
        self.beat()

    @property
    def incarnation(self) -> int:
        return self.document.incarnation

    def later(self, delay_s: float, fn: Callable[[], object]) -> None:
        self.sim.later(delay_s, lambda: fn() if self.alive else None)

    def beat(self) -> None:
        self.step(ev.Tick())
        if not self.dispatcher.knows(CALLER):
            self.ledger.forget()
        heard = partial(self.sim.beaten, self.document, self.dispatcher.state())
        self.sim.carry(self.name, CALLER, heard)
        self.later(BEAT_S, self.beat)

    # -- from the caller -----------------------------------------------------------------------

    def run(self, data: bytes) -> None:
        self.step(ev.RunArrived(CALLER, wire.decode_run(data)))

    def control(self, data: bytes) -> None:
        asked = wire.decode_control(data)
        match asked:
            case wire.Ping():
                self.step(ev.CallerHeard(CALLER, asked.lease_s))
                if asked.incarnation == self.incarnation:
                    tasks = self.ledger.acked(asked.acked)
                    if tasks:
                        self.step(ev.CallerAcked(CALLER, tasks))
                self.reply([wire.Pong(asked.number, self.dispatcher.owed(CALLER))])
            case wire.Cancel():
                self.step(ev.CancelAsked(CALLER, asked.tasks))
            case wire.Return():
                self.step(ev.ReturnAsked(CALLER, asked.tasks))
            case wire.Resend():
                if asked.incarnation == self.incarnation:
                    messages, complete = self.ledger.again(asked.first, asked.last)
                    for message in messages:
                        self.sim.carry(self.name, CALLER, partial(self.sim.out, self.name, message))
                    if not complete:
                        self.reply([wire.Gone(asked.first, asked.last)])
            case wire.Code():
                self.step(ev.CodeArrived(CALLER, asked.function, asked.code))
            case _:
                raise AssertionError(asked)

    # -- the machine ---------------------------------------------------------------------------

    def step(self, event: ev.Event) -> None:
        self.perform(self.dispatcher.step(event, self.sim.now))

    def perform(self, effects: Iterable[ev.Effect]) -> None:
        for effect in effects:
            match effect:
                case ev.ToWorker():
                    self.given(self.workers[effect.worker], effect.data)
                case ev.Reply():
                    self.reply(effect.records)
                case ev.Revoke():
                    worker = self.workers[effect.worker]
                    worker.revoked = effect.upto
                    self.later(REVOKE_S, partial(self.look, worker, effect.upto))
                case ev.Spawn():
                    for _ in range(effect.count):
                        self.later(FORK_S, self.forked)
                case ev.Overdue():
                    condemned = ev.Condemned(effect.worker, effect.seq)
                    self.later(0.0, partial(self.step, condemned))
                case ev.Kill() | ev.Retire():
                    worker = self.workers.get(effect.worker)
                    if worker is not None:
                        self.later(KILL_S, partial(self.died, worker, "SIGKILL"))
                case ev.Drained():
                    pass
        if not self.ticking and self.dispatcher.busy:
            self.ticking = True
            self.later(TICK_S, self.tick)

    def tick(self) -> None:
        self.ticking = False
        self.step(ev.Tick())

    def reply(self, records: Iterable[wire.Record]) -> None:
        if not self.unsent:
            self.later(0.0, self.flush)
        self.unsent.extend(records)

    def flush(self) -> None:
        records, self.unsent = self.unsent, []
        seq = self.ledger.next_seq()
        out = wire.Out(seq, self.incarnation, self.dispatcher.state(), records)
        data = wire.encode(out)
        dropped = self.ledger.keep(seq, data, records)
        self.sim.carry(self.name, CALLER, partial(self.sim.out, self.name, data))
        if dropped:
            self.step(ev.ResultsDropped(CALLER, dropped))

    # -- workers -------------------------------------------------------------------------------

    def forked(self) -> None:
        worker = Worker(next(self.numbers))
        self.workers[worker.number] = worker
        self.step(ev.WorkerUp(worker.number, 1000 + worker.number))

    def given(self, worker: Worker, data: bytes) -> None:
        worker.calls.extend(
            frame for frame in worker.reader.feed(data) if type(frame) is frames.CallFrame
        )
        if not worker.running:
            self.start(worker)

    def start(self, worker: Worker) -> None:
        while worker.calls and not worker.gone:
            frame = worker.calls.popleft()
            if frame.seq <= worker.revoked:
                continue
            worker.current = frame.seq
            worker.running = True
            task = int(frame.data)
            call = self.sim.started(task, self.name)
            crashes = len(self.sim.executions[task]) <= call.crashes
            then = self.crashed if crashes else self.finished
            self.later(call.runs_s, partial(then, worker, frame.seq, call.runs_s))
            return
        worker.running = False

    def finished(self, worker: Worker, seq: int, ran_s: float) -> None:
        if worker.gone:
            return
        data = frames.result(seq, frames.OK, ran_s, b"value")
        (frame,) = frames.Reader().feed(data)
        self.start(worker)
        self.step(ev.ResultsArrived(worker.number, [frame]))

    def crashed(self, worker: Worker, seq: int, ran_s: float) -> None:
        del seq, ran_s
        self.died(worker, "signal 11")

    def died(self, worker: Worker, cause: str) -> None:
        if not worker.gone:
            worker.gone = True
            del self.workers[worker.number]
            self.step(ev.WorkerGone(worker.number, worker.current, cause))

    def look(self, worker: Worker, upto: int) -> None:
        if not worker.gone:
            worker.calls = collections.deque(c for c in worker.calls if c.seq > upto)
            self.step(ev.Revoked(worker.number, worker.current, upto))


class Continuum:
    """Everything, and what came of it."""

    def __init__(
        self,
        seed: int,
        calls: list[Call],
        *,
        agents: int = 3,
        weather: Weather | None = None,
        faults: Iterable[Fault] = (),
        room: int = 4096,
    ) -> None:
        self.now = 0.0
        self.room = room
        self.rng = random.Random(seed)
        self.weather = weather or Weather()
        self.trace: list[tuple[float, str]] = []
        self.executions: collections.defaultdict[int, list[str]] = collections.defaultdict(list)
        self.ended: collections.Counter[int] = collections.Counter()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._last: dict[tuple[str, str], float] = {}
        self._cut: collections.Counter[str] = collections.Counter()
        self._up = True
        self._outages = 0
        self._ticking = False
        self._membership = Membership()
        self._documents: dict[str, Capabilities] = {}
        self._incarnations = itertools.count(1)
        self._jobs: dict[tuple[int, bool, float], Job] = {}
        self.keeper = Keeper(random.Random(seed + 1))
        self.agents = {f"a{i}": Agent(self, i, next(self._incarnations)) for i in range(agents)}
        self.calls = calls
        self.works: list[Work] = []
        for task, call in enumerate(calls):
            job = self._job(call)
            self.works.append(new_work(task, job, str(task).encode(), (), 0, call.at_s))
            self.later(call.at_s, partial(self._submit, task))
        for fault in faults:
            self.later(fault.at_s, partial(self._befall, fault))
        self.later(0.5, lambda: self.perform(self.keeper.settled(self.now)))
        self.later(0.5, self._expire)

    def run(self, limit_s: float) -> Continuum:
        """Go on until every task has ended, with all that is left of it, or for so long."""
        while self._heap and (len(self.ended) < len(self.calls) or self.keeper.unended):
            at, _, fn = heapq.heappop(self._heap)
            if at > limit_s:
                break
            self.now = at
            fn()
        return self

    def later(self, delay_s: float, fn: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (self.now + delay_s, next(self._order), fn))

    # -- the network ---------------------------------------------------------------------------

    def carry(self, sender: str, receiver: str, arrive: Callable[[], object]) -> None:
        """In order between two, if at all."""
        weather, rng = self.weather, self.rng
        copies = (rng.random() >= weather.loss) + (rng.random() < weather.duplication)
        far = receiver if sender == CALLER else sender
        outage = self._outages
        if not self._up or self._cut[far]:
            return
        for _ in range(copies):
            at = self.now + weather.delay_s + weather.jitter_s * rng.random()
            self._last[sender, receiver] = at = max(at, self._last.get((sender, receiver), at))

            def land() -> None:
                if self._up and not self._cut[far] and outage == self._outages:
                    arrive()

            self.later(at - self.now, land)

    def _to_agent(self, name: str, number: int, deliver: Callable[[Agent], object]) -> None:
        agent = self.agents[name]
        if not agent.alive and self._up and not self._cut[name]:
            # The server says it, whom nothing is lost on the way to.
            notice = partial(self._unheard, name, number, self._outages)
            self.later(2 * self.weather.delay_s, notice)
            return
        # What is on its way to a process dies with it.
        self.carry(CALLER, name, lambda: deliver(agent) if agent.alive else None)

    def _unheard(self, name: str, number: int, outages: int) -> None:
        if outages == self._outages:
            self.perform(self.keeper.unheard(name, number, self.now))
            if self.keeper.fleet.get(name) is None:
                self._happened(self._membership.no_responders(name, self.now))

    # -- the caller ----------------------------------------------------------------------------

    def _job(self, call: Call) -> Job:
        key = (call.retries, call.hedge, call.deadline_s)
        if key not in self._jobs:
            self._jobs[key] = Job(
                function=FUNCTION,
                name="f",
                code=CODE,
                demand=Demand(),
                hint=Hint(deadline_s=call.deadline_s),
                retries=call.retries,
                idempotent=call.retries > 0,
                hedge=call.hedge,
            )
        return self._jobs[key]

    def _submit(self, task: int) -> None:
        self.perform(self.keeper.submit([self.works[task]], self.now))

    def beaten(self, document: Capabilities, state: wire.AgentState) -> None:
        known = self._documents.get(document.agent)
        if known is None or known.incarnation <= document.incarnation:
            self._documents[document.agent] = document
        self._happened(
            self._membership.heard(
                document.agent,
                document.site,
                document.incarnation,
                document.revision,
                BEAT_S,
                state,
                self.now,
            )
        )

    def out(self, agent: str, data: bytes) -> None:
        out = wire.decode_out(data)
        self.perform(self.keeper.heard(agent, out, self.now))
        if self._documents.get(agent) is not None:
            happened = self._membership.message_from(agent, out.incarnation, out.state, self.now)
            self._happened(happened)

    def _happened(self, events: Iterable[MembershipEvent]) -> None:
        keeper, now = self.keeper, self.now
        for event in events:
            self.trace.append((now, f"{type(event).__name__} {event.agent}"))
            document = self._documents[event.agent]
            match event:
                case Joined() | Changed():
                    if document.incarnation == event.incarnation:
                        self.perform(keeper.changed(document, event.state, now))
                case Suspect():
                    keeper.suspected(event.agent)
                case Dead():
                    self.perform(keeper.gone(event.agent, "died", now))
                case Reincarnated():
                    self.perform(keeper.gone(event.agent, "was restarted", now))

    def _expire(self) -> None:
        if self._up:
            self._happened(self._membership.expire(self.now))
        self.later(0.5, self._expire)

    def _tick(self) -> None:
        self._ticking = False
        self.perform(self.keeper.tick(self.now))

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendRun():
                    data = wire.encode(effect.run)
                    tasks = [(call.task, call.attempt) for call in effect.run.calls]
                    self.trace.append((self.now, f"run {effect.agent} {tasks}"))
                    self._to_agent(effect.agent, effect.number, partial(Agent.run, data=data))
                case SendControl():
                    data = wire.encode(effect.message)
                    self._to_agent(effect.agent, effect.number, partial(Agent.control, data=data))
                case Running():
                    pass
                case Ended():
                    work = effect.work
                    # A backup, and what is left of the call that one has overtaken, are nobody's.
                    if work.id < len(self.works) and work is self.works[work.id]:
                        self.ended[work.id] += 1
                    self.trace.append((self.now, f"end {effect.work.number} {effect.work.state}"))
        if not self._ticking and self.keeper.busy:
            self._ticking = True
            self.later(CALLER_TICK_S, self._tick)

    # -- what befalls them ---------------------------------------------------------------------

    def started(self, task: int, agent: str) -> Call:
        self.executions[task].append(agent)
        self.trace.append((self.now, f"start {task} {agent}"))
        return self.calls[task]

    def _befall(self, fault: Fault) -> None:
        self.trace.append((self.now, str(fault)))
        match fault:
            case Kill():
                self.agents[f"a{fault.agent}"].alive = False
                self.later(fault.back_after_s, partial(self._revive, fault.agent))
            case Cut():
                name = f"a{fault.agent}"
                self._cut[name] += 1
                self.later(fault.for_s, lambda: self._cut.subtract([name]))
            case Outage():
                if self._up:
                    self._up = False
                    self._outages += 1
                    self.keeper.link(up=False, now=self.now)
                    self.later(fault.for_s, self._server_back)
            case Cancel():
                self.perform(self.keeper.cancel([self.works[fault.task].number], self.now))

    def _revive(self, index: int) -> None:
        if not self.agents[f"a{index}"].alive:
            self.agents[f"a{index}"] = Agent(self, index, next(self._incarnations))

    def _server_back(self) -> None:
        self._up = True
        self._membership.forgive(self.now)
        self.keeper.link(up=True, now=self.now)
        self.perform(self.keeper.tick(self.now))
