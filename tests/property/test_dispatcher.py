"""Whatever happens in whatever order: every attempt has one end, and nothing is leaked."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer_agent.dispatcher import events as ev
from gossamer_agent.resource import Resource
from gossamer_agent.worker import frames
from gossamer_mesh import wire
from tests.unit.agent.shop import INCARNATION, Shop, code_of, digest_of, job_of, result

CALLERS = ("ann", "bob", "cyd")
NAMES = ("quick", "slow", "secret")
SLOTS, GPUS = 3, (0, 1)
RESOURCES = (Resource("cam"), Resource("key", 2))
NEEDS = (
    (("cam", 1),),
    (("key", 1),),
    (("key", 2),),
    (("cam", 1), ("key", 1)),
    (("key", 3),),
    (("none", 1),),
)

CHOICES = st.integers(0, 10**6)
SUBMITS = st.tuples(
    st.just("submit"),
    st.sampled_from(CALLERS),
    st.sampled_from(NAMES),
    st.lists(st.integers(1, 8), min_size=1, max_size=5, unique=True),
    st.integers(1, 2),
    st.fixed_dictionaries(
        {
            "orphans": st.sampled_from(["cancel", "cancel", "finish"]),
            "cpus": st.sampled_from([1, 1, 1, 1, 2, 3, 9]),
            "gpus": st.sampled_from([0, 0, 0, 1, 2]),
            "with_code": st.booleans(),
            "resources": st.sampled_from([(), (), (), *NEEDS]),
        }
    ),
    st.sampled_from([0.0, 0.0, 0.0, 0.1, 5.0, -1.0]),
)
VERBS = st.one_of(
    SUBMITS,
    SUBMITS,
    st.tuples(st.just("tick"), st.sampled_from([0.001, 0.02, 0.06, 0.3, 5.0, 40.0])),
    st.tuples(st.just("tick"), st.sampled_from([0.001, 0.02, 0.06, 0.3])),
    st.tuples(st.just("finish"), CHOICES, st.integers(1, 4), st.sampled_from([0.0001, 0.001])),
    st.tuples(st.just("finish"), CHOICES, st.integers(1, 4), st.sampled_from([0.0001, 1.0])),
    st.tuples(st.just("start"), CHOICES),
    st.tuples(st.just("crash"), CHOICES),
    st.tuples(st.just("obey"), CHOICES),
    st.tuples(st.just("obey"), CHOICES),
    st.tuples(st.just("fail spawn"), CHOICES),
    st.tuples(st.just("cancel"), st.sampled_from(CALLERS), st.lists(st.integers(1, 8), max_size=3)),
    st.tuples(st.just("return"), st.sampled_from(CALLERS), st.lists(st.integers(1, 8), max_size=8)),
    st.tuples(st.just("code"), st.sampled_from(CALLERS), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("ping"), st.sampled_from(CALLERS)),
    st.tuples(st.just("ack"), st.sampled_from(CALLERS)),
    st.tuples(st.just("leave"), st.sampled_from(CALLERS)),
    st.tuples(st.just("lie"), CHOICES, st.integers(0, 9)),
    st.tuples(st.just("garble"), CHOICES),
    st.tuples(st.just("drain"), st.integers(0, 19)),
)
# Most mistakes need a few things to have happened before.
STORIES = st.lists(VERBS, max_size=10) | st.lists(VERBS, min_size=25, max_size=70)


class Play(Shop):
    """Workers and a control plane that may do anything that real ones can do."""

    def __init__(self):
        super().__init__(
            slots=SLOTS, room=12, gpus=GPUS, resources=RESOURCES, warm=1, recycle_after=7
        )
        self.started = {}
        self.upto = {}
        self.sent = set()
        self.renamed = set()
        self.refused = set()
        self.control += self.machine.keep_warm(self.now)
        self.teach("quick", 0.0001)
        self.teach("slow", 1.0)
        self.history.clear()
        self.up()

    def step(self, event):
        effects = super().step(event)
        self.check()
        self.check_refusals(effects)
        return effects

    # -- the verbs ---------------------------------------------------------------------------

    def act(self, verb, *args):
        getattr(self, verb.replace(" ", "_"))(*args)

    def submit_(self, caller, name, tasks, attempt, about, left_s):
        about = {**about, "with_code": about["with_code"] and name != "secret"}
        job = job_of(name, **about)
        live = self.machine._callers.get(caller)
        for task in tasks:
            self.sent.add((caller, task, attempt))
            item = live.live.get(task) if live else None
            if item is not None and item.attempt < attempt:
                self.renamed.add((caller, task, item.attempt))
        calls = [wire.Call(task, attempt, b"", left_s=left_s) for task in tasks]
        self.step(ev.RunArrived(caller, wire.Run(INCARNATION, job, calls)))

    def tick(self, seconds):
        self.now += seconds
        self.step(ev.Tick())

    def pick(self, choice):
        numbers = sorted(self.hands)
        return numbers[choice % len(numbers)] if numbers else None

    def finish_(self, choice, count, ran_s):
        """A worker runs its next calls, and says which of them it shied from."""
        worker = self.pick(choice)
        if worker is None:
            return
        hand = self.hands[worker]
        outcomes = []
        for _ in range(min(count, len(hand.calls))):
            seq = hand.calls.pop(0).seq
            if seq <= self.upto.get(worker, 0) and seq != self.started.get(worker):
                outcomes.append(result(seq, status=frames.REVOKED))
            else:
                self.started[worker] = seq
                outcomes.append(result(seq, ran_s=ran_s, status=choice % 2))
        if outcomes:
            self.step(ev.ResultsArrived(worker, outcomes))

    def start(self, choice):
        worker = self.pick(choice)
        if worker is not None and self.hands[worker].calls:
            seq = self.hands[worker].calls[0].seq
            if seq > self.upto.get(worker, 0):
                self.started[worker] = seq

    def crash(self, choice):
        worker = self.pick(choice)
        if worker is not None:
            self.die(worker)

    def die(self, worker):
        del self.hands[worker]
        self.step(ev.WorkerGone(worker, self.started.pop(worker, 0), "died"))

    def obey(self, choice):
        """Control, or the data plane, does one of the things that it was asked for."""
        if not self.control:
            return
        match self.control.pop(choice % len(self.control)):
            case ev.Spawn(count=count):
                for _ in range(count):
                    self.up()
            case ev.Overdue(worker=worker, seq=seq):
                self.step(ev.Condemned(worker, seq))
            case ev.Kill(worker=worker) | ev.Retire(worker=worker):
                if worker in self.hands:
                    self.die(worker)
            case ev.Revoke(worker=worker, upto=upto):
                self.upto[worker] = max(upto, self.upto.get(worker, 0))
                if worker in self.hands:
                    current = self.started.get(worker, 0)
                    self.step(ev.Revoked(worker, current, upto))
            case ev.Drained():
                pass

    def fail_spawn(self, choice):
        spawns = [effect for effect in self.control if isinstance(effect, ev.Spawn)]
        if spawns:
            spawn = spawns[choice % len(spawns)]
            self.control.remove(spawn)
            for _ in range(spawn.count):
                self.step(ev.SpawnFailed("no"))

    def cancel(self, caller, tasks):
        self.step(ev.CancelAsked(caller, tasks))

    def return_(self, caller, tasks):
        """What waits comes back, each once and nothing else; what workers have stays."""
        known = self.machine._callers.get(caller)
        live = known.live if known else {}
        waits = {task for task in tasks if task in live and live[task].seq == 0}
        before = [self.tasks_of(worker.number) for worker in self.machine._workers]
        effects = self.step(ev.ReturnAsked(caller, tasks))
        returned = [
            record.task
            for effect in effects
            if isinstance(effect, ev.Reply)
            for record in effect.records
            if isinstance(record, wire.Refused) and record.reason == "returned"
        ]
        assert sorted(returned) == sorted(waits)
        after = [self.tasks_of(worker.number) for worker in self.machine._workers]
        assert all(had == has[: len(had)] for had, has in zip(before, after, strict=True))

    def code(self, caller, name, has):
        self.step(ev.CodeArrived(caller, digest_of(name), code_of(name) if has else b""))

    def ping(self, caller):
        self.step(ev.CallerHeard(caller, 30.0))

    def ack(self, caller):
        self.step(ev.CallerAcked(caller, range(5)))
        self.step(ev.ResultsDropped(caller, range(5, 9)))

    def leave(self, caller):
        self.step(ev.CallerLeft(caller))

    def lie(self, choice, seq):
        worker = self.pick(choice)
        if worker is not None:
            self.step(ev.ResultsArrived(worker, [result(seq), result(seq)]))

    def garble(self, choice):
        worker = self.pick(choice)
        if worker is not None:
            self.step(ev.Garbled(worker))

    def drain(self, chance):
        if chance == 0:
            self.step(ev.DrainAsked())

    # -- the end -----------------------------------------------------------------------------

    def settle(self):
        """Everybody does their duty, until nothing is left to do."""
        for _ in range(3000):
            if not self.machine.busy and not self.control:
                return
            while self.control:
                self.obey(0)
            for caller in CALLERS:
                for name in NAMES:
                    self.code(caller, name, has=True)
                self.ping(caller)
            for worker in sorted(self.hands):
                if worker in self.hands:
                    self.finish_(sorted(self.hands).index(worker), 100, 0.001)
            self.tick(0.05)
        raise AssertionError("it does not come to an end")

    # -- what always holds -------------------------------------------------------------------

    def check(self):
        machine = self.machine
        workers = list(machine._workers)
        held = sum(worker.key.cpus for worker in workers if worker.running)
        assert machine._workers.free_slots == SLOTS - held
        assert 0 <= held <= SLOTS
        gpus = [gpu for worker in workers for gpu in worker.gpus]
        assert sorted(gpus + machine._workers._free_gpus) == list(GPUS)
        self.check_resources()
        assert machine._workers.leaving == sum(worker.condemned for worker in workers)
        assert machine._workers.spawning >= 0
        assert 0.0 <= machine.state().queue_s < 1e6

        waiting = list(machine._waiting)
        assert machine._waiting.count == len(waiting)
        assert abs(machine._waiting.expected_s - sum(i.expected_s for i in waiting)) < 1e-6
        parked = list(machine._parking)
        assert machine._parking.count == len(parked)
        running = [item for worker in workers for item in worker.running]
        everywhere = Counter(map(id, waiting + parked + running))
        assert set(everywhere.values()) <= {1}
        live = {
            id(item)
            for name in (*CALLERS, "teacher")
            if (caller := machine._callers.get(name))
            for item in caller.live.values()
        }
        assert live == set(everywhere)
        assert not any(item.ended for item in waiting + parked + running)
        assert all(item.seq == 0 for item in waiting + parked)
        for worker in workers:
            seqs = [item.seq for item in worker.running]
            assert seqs == sorted(set(seqs))
            assert len(seqs) <= 64
            idle = worker.number in machine._workers._idle
            assert idle == (not worker.running and not worker.condemned)
        assert len(waiting) + len(parked) <= 12 + len(running) + 64
        if machine._draining:
            assert not waiting
            assert not parked

    def check_resources(self):
        """Of each resource every unit is free or had by one process that has not ended."""
        stock = self.machine._workers.stock
        had = {each.name: list(stock._free[each.name]) for each in RESOURCES}
        for worker in self.machine._workers:
            assert worker.number in self.hands
            for resource, units in worker.resources:
                had[resource.name] += units
            wanted = dict(worker.key.resources) if worker.key else {}
            assert wanted == {each.name: len(units) for each, units in worker.resources}
        assert {name: sorted(units) for name, units in had.items()} == {"cam": [0], "key": [0, 1]}
        told = [
            (name, unit)
            for hand in self.hands.values()
            for name, units in (hand.settings or {}).get("environ", {}).items()
            for unit in units.split(",")
        ]
        assert len(told) == len(set(told))

    def check_refusals(self, effects):
        """What was refused is not run, as long as its caller is known."""
        for effect in effects:
            if isinstance(effect, ev.Reply):
                for record in effect.records:
                    match record:
                        case wire.Refused():
                            self.refused.add((effect.caller, record.task, record.attempt))
                        case wire.Done():
                            end = (effect.caller, record.task, record.attempt)
                            assert end not in self.refused
        self.refused = {end for end in self.refused if self.machine.knows(end[0])}
        for worker in self.machine._workers:
            for item in worker.running:
                assert (item.key.caller, item.task, item.attempt) not in self.refused

    def ends(self):
        """How often each attempt was told to have ended, repetitions on demand aside."""
        return Counter(
            (caller, record.task, record.attempt)
            for effects in self.history
            for effect in effects
            if isinstance(effect, ev.Reply)
            for caller in [effect.caller]
            for record in effect.records
            if isinstance(record, wire.Done | wire.Refused)
        )


RENAMED = {"submit": "submit_", "finish": "finish_", "return": "return_"}


def played(story):
    play = Play()
    for verb, *args in story:
        play.act(RENAMED.get(verb, verb), *args)
    return play


@settings(max_examples=150)
@given(STORIES)
def test_every_attempt_has_an_end_and_nothing_is_left(story):
    play = played(story)
    play.settle()
    ended = set(play.ends())
    left = {
        (caller, task, attempt)
        for caller, task, attempt in play.sent - ended - play.renamed
        # An attempt older than one that was heard of is ignored.
        if not any((caller, task, later) in play.sent for later in range(attempt + 1, 4))
    }
    assert not left
    assert play.free == SLOTS
    assert not play.machine.busy
    assert all(play.machine.owed(caller) == 0 for caller in CALLERS)
    play.now += 3600
    play.step(ev.Tick())
    assert not any(play.machine.knows(caller) for caller in CALLERS)


@given(STORIES)
def test_no_attempt_ends_twice(story):
    play = played(
        [
            # Each task is sent once: who sends it again is told its end again.
            (verb, *args)
            for verb, *args in once(story)
        ]
    )
    play.settle()
    assert set(play.ends().values()) <= {1}


@given(STORIES)
def test_the_same_events_have_the_same_effects(story):
    assert played(story).history == played(story).history


def once(story):
    """The story, with every task of a caller submitted for the first time only."""
    seen = set()
    for verb, *args in story:
        if verb == "submit":
            caller, tasks = args[0], args[2]
            args[2] = [task for task in tasks if (caller, task) not in seen]
            seen.update((caller, task) for task in tasks)
        yield verb, *args
