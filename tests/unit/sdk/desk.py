"""A keeper on a desk: agents are what the test says they are, and time passes when it says so."""

from __future__ import annotations

import itertools
import random
from typing import Any

from gossamer.effects import (
    Collect,
    Effect,
    Ended,
    Leave,
    Running,
    SendControl,
    SendRun,
    Told,
)
from gossamer.hedging import FIRST_NUMBER
from gossamer.keeper import Keeper
from gossamer.work import Job, Work, new_work
from gossamer_mesh import wire
from gossamer_mesh.capability import Capabilities
from gossamer_placement.model import Demand

FUNCTION = b"0123456789abcdef"


def a_job(name: str = "f", **fields: Any) -> Job:
    demand = fields.pop("demand", Demand())
    function = fields.pop("function", FUNCTION)
    return Job(function=function, name=name, code=b"code", demand=demand, **fields)


def a_document(agent: str = "a", **fields: Any) -> Capabilities:
    given = {
        "site": "here",
        "incarnation": 1,
        "revision": 1,
        "host": "h",
        "slots": 2,
        "python": "3.11",
        **fields,
    }
    return Capabilities(agent=agent, **given)


class Desk:
    def __init__(self, seed: int = 0) -> None:
        self.keeper = Keeper(random.Random(seed))
        self.now = 100.0
        self.runs: list[SendRun] = []
        self.controls: list[SendControl] = []
        self.ended: list[Work] = []
        self.running: list[Work] = []
        self.collects: list[Collect] = []
        self.left: list[tuple[wire.Blob, int]] = []
        self.told: list[Told] = []
        self._numbers = itertools.count(1)
        self._states = itertools.count(1)
        self._seqs: dict[tuple[str, int], int] = {}
        self._incarnations: dict[str, int] = {}
        self.documents: dict[str, Capabilities] = {}

    # -- agents ------------------------------------------------------------------------------

    def state(self, slots: int = 2, **fields: Any) -> wire.AgentState:
        given = {"free": slots, "queued": 0, "queue_s": 0.0, "room": 100, **fields}
        return wire.AgentState(seq=next(self._states), slots=slots, **given)

    def join(self, agent: str = "a", *, settled: bool = True, **fields: Any) -> None:
        state = fields.pop("state", None) or self.state(fields.get("slots", 2))
        document = self.documents[agent] = a_document(agent, **fields)
        self._incarnations[agent] = document.incarnation
        self.perform(self.keeper.joined(document, state, self.now))
        if settled:
            self.perform(self.keeper.settled(self.now - 10.0))

    def beat(self, agent: str = "a", **state: Any) -> None:
        document = self.documents[agent]
        self.perform(self.keeper.changed(document, self.state(**state), self.now))

    def hear(
        self,
        *records: wire.Record,
        agent: str = "a",
        seq: int = 0,
        incarnation: int = 0,
        **state: Any,
    ) -> None:
        """`seq` 0 is the next one."""
        incarnation = incarnation or self._incarnations[agent]
        seq = seq or self._seqs.get((agent, incarnation), 0) + 1
        self._seqs[agent, incarnation] = max(seq, self._seqs.get((agent, incarnation), 0))
        out = wire.Out(seq, incarnation, self.state(**state), list(records))
        self.perform(self.keeper.heard(agent, out, self.now))

    def lose(self, agent: str = "a") -> int:
        """The agent said something that does not arrive: its number."""
        key = (agent, self._incarnations[agent])
        self._seqs[key] = self._seqs.get(key, 0) + 1
        return self._seqs[key]

    def pong(self, agent: str = "a") -> None:
        """The agent answers the last ping."""
        self.hear(wire.Pong(self.pings(agent)[-1].number, 0), agent=agent)

    def teach(self, run_s: float, count: int = 6, agent: str = "a", **fields: Any) -> None:
        """Let so many calls end on the only agent that is there, one after the other."""
        job = fields.pop("job", None)
        payload = fields.pop("payload", b"x")
        for _ in range(count):
            (work,) = self.submit(job=job, payload=payload)
            self.now += run_s
            self.hear(done(work, ran_s=run_s, **fields), agent=agent)
            self.keeper.reflect()

    def unheard(self, message: SendRun | SendControl) -> None:
        self.perform(self.keeper.unheard(message.agent, message.number, self.now))

    def gone(self, agent: str = "a", why: str = "died") -> None:
        self.perform(self.keeper.gone(agent, why, self.now))

    # -- the caller --------------------------------------------------------------------------

    def submit(self, count: int = 1, job: Job | None = None, payload: bytes = b"x") -> list[Work]:
        job = job or a_job()
        works = [new_work(next(self._numbers), job, payload, (), 0, self.now) for _ in range(count)]
        self.perform(self.keeper.submit(works, self.now))
        return works

    def cancel(self, *works: Work) -> None:
        self.perform(self.keeper.cancel([work.number for work in works], self.now))

    def wait(self, seconds: float, *, answering: tuple[str, ...] = ()) -> None:
        """Let time pass, ticking as a client does; agents in `answering` answer each ping."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            answered = {agent: len(self.pings(agent)) for agent in answering}
            self.perform(self.keeper.tick(self.now))
            for agent, before in answered.items():
                if len(self.pings(agent)) > before:
                    self.pong(agent)

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendRun():
                    self.runs.append(effect)
                case SendControl():
                    self.controls.append(effect)
                case Told():
                    self.told.append(effect)
                case Running():
                    self.running.append(effect.work)
                case Ended():
                    self.ended.append(effect.work)
                case Collect():
                    self.collects.append(effect)
                case Leave():
                    self.left.append((effect.blob, effect.task))

    # -- what was sent -----------------------------------------------------------------------

    def calls(self, agent: str = "a") -> list[tuple[int, int]]:
        """(task, attempt) of every call sent to the agent."""
        return [
            (call.task, call.attempt)
            for run in self.runs
            if run.agent == agent
            for call in run.run.calls
        ]

    def backups(self) -> list[tuple[str, wire.Call]]:
        """(agent, call) of every backup that was sent, as it was sent first."""
        found: dict[int, tuple[str, wire.Call]] = {}
        for run in self.runs:
            for call in run.run.calls:
                if call.task >= FIRST_NUMBER:
                    found.setdefault(call.task, (run.agent, call))
        return list(found.values())

    def leftovers(self) -> list[object]:
        """Whatever the keeper holds though every task has ended."""
        keeper = self.keeper
        hedges = keeper._hedges
        held = [keeper._works, hedges._watched, hedges._backups, hedges._originals, hedges._said]
        held += [peer.owed for peer in keeper._peers.values()]
        return [*(each for each in held if each), *keeper._backlog]

    def said(self, kind: type, agent: str = "a") -> list[Any]:
        return [c.message for c in self.controls if c.agent == agent and type(c.message) is kind]

    def pings(self, agent: str = "a") -> list[wire.Ping]:
        return self.said(wire.Ping, agent)


def done(work: Work, status: wire.Status = "ok", **fields: Any) -> wire.Done:
    return wire.Done(work.number, work.attempt, status, **fields)


def refused(work: Work, reason: wire.Refusal) -> wire.Refused:
    return wire.Refused(work.number, work.attempt, reason)
