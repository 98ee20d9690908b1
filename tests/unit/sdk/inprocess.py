"""Agents in this process, on virtual time: the shipped data plane and dispatcher, over a network
in memory and real socket pairs, with workers that run the users' functions when their time has
come. What forks and kills is played; everything that decides is the real thing.
"""

from __future__ import annotations

import collections
import functools
import os
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from gossamer.client import Client
from gossamer.submitter import Submitter
from gossamer.task import Task
from gossamer_agent.dataplane import DataPlane, Notice
from gossamer_agent.dispatcher import events as ev
from gossamer_agent.dispatcher.machine import Dispatcher
from gossamer_agent.handset import Handset
from gossamer_agent.worker import frames, pickling
from gossamer_agent.worker.page import Page
from gossamer_agent.worker.tape import Tape
from gossamer_mesh import capability, subjects
from gossamer_mesh.capability import Capabilities
from gossamer_mesh.code.function import PYTHON
from gossamer_mesh.link import Status
from gossamer_mesh.link.memory import MemoryNetwork

BEAT_S = 10.0
FORK_S = 0.02
KILL_S = 0.002
DIE = "signal 11"


def nap(seconds: float, value: object) -> object:
    """What the tests run: a worker takes `seconds` of virtual time for it, or dies of `DIE`."""
    del seconds
    return value


class Worker:
    """Calls one after the other, over its own end of the socket pair."""

    def __init__(self, agent: Agent, hands: Handset) -> None:
        sock, page, *self._pipes = hands.theirs
        self.agent = agent
        self.hands = hands
        self.gone = False
        self._page = Page(page)
        self.tape = Tape(self._page)
        os.close(page)
        self._lane = agent.link.lane(socket.socket(fileno=sock), self._received, lambda: None)
        self._reader = frames.Reader()
        self._calls: collections.deque[frames.CallFrame] = collections.deque()
        self._code: dict[bytes, bytes] = {}
        self._busy = False
        self._lane.write(frames.ready())

    def close(self) -> None:
        self.gone = True
        self._page.close()
        self._lane.close()
        for pipe in self._pipes:
            os.close(pipe)

    def _received(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if type(frame) is frames.CallFrame:
                self._calls.append(frame)
            elif type(frame) is frames.FunctionFrame:
                self._code[frame.function] = frame.code
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = False
        while self._calls and not self.gone:
            frame = self._calls.popleft()
            if not self._page.start(frame.seq):
                self._lane.write(frames.result(frame.seq, frames.REVOKED, 0.0, b""))
                continue
            self._busy = True
            args, _ = pickling.load_arguments(frame.data, frame.buffers)
            self.agent.mesh.executed.append((self.agent.name, args))
            self.agent.link.call_later(args[0], functools.partial(self._end, frame, args))
            return

    def _end(self, frame: frames.CallFrame, args: tuple[float, object]) -> None:
        if self.gone:
            return
        if args[1] == DIE:
            self.agent.ended(self, DIE)
            return
        value = pickling.load_function(self._code[frame.function])(*args)
        data, buffers = pickling.dump_value(value)
        self._lane.write(frames.result(frame.seq, frames.OK, args[0], data, buffers))
        self._next()


class Agent:
    """One incarnation."""

    def __init__(self, mesh: SimMesh, name: str, incarnation: int, slots: int) -> None:
        self.mesh = mesh
        self.name = name
        self.link = mesh.network.link(name)
        self.workers: dict[int, Worker] = {}
        self.drained = False
        self._forked = 0
        self._alive = True
        self._document = Capabilities(
            agent=name,
            site="here",
            incarnation=incarnation,
            revision=1,
            host="h",
            slots=slots,
            python=PYTHON,
        )
        self.plane = DataPlane(
            self.link,
            Dispatcher(incarnation, slots=slots, room=100, python=PYTHON),
            name=name,
            site="here",
            incarnation=incarnation,
            interval_s=BEAT_S,
            output=1000,
            told=self._told,
        )
        self.plane.open()
        self.link.on_status(self._status)
        self.link.post(self.plane.keep_warm)
        self._bucket = self.link.key_value(subjects.AGENTS_BUCKET)
        self._bucket.put(name, capability.encode(self._document), lambda _: self.plane.beat(1))
        self.link.call_later(BEAT_S, self._beat)

    def kill(self) -> None:
        """SIGKILL to all of it: no goodbye."""
        self._alive = False
        self.link.vanish()
        for worker in self.workers.values():
            worker.close()
            worker.hands.page.close()

    def drain(self) -> None:
        self.link.post(lambda: self.plane.step(ev.DrainAsked()))
        self.link.post(self.plane.beat)

    def leave(self) -> None:
        self._bucket.delete(self.name, lambda _: self.kill())

    def ended(self, worker: Worker, cause: str) -> None:
        """A worker has died."""
        if self._alive and not worker.gone:
            worker.close()
            number = worker.hands.worker
            del self.workers[number]
            self.plane.ended(number, cause)

    def _beat(self) -> None:
        self.plane.beat()
        self.link.call_later(BEAT_S, self._beat)

    def _status(self, status: Status) -> None:
        if status == "up":
            self.plane.beat()

    def _told(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            match notice:
                case ev.Spawn():
                    for _ in range(notice.count):
                        self.link.call_later(FORK_S, self._fork)
                case ev.Overdue():
                    condemned = ev.Condemned(notice.worker, notice.seq)
                    self.link.post(functools.partial(self.plane.step, condemned))
                case ev.Kill() | ev.Retire():
                    worker = self.workers.get(notice.worker)
                    if worker is not None:
                        ended = functools.partial(self.ended, worker, "SIGKILL")
                        self.link.call_later(KILL_S, ended)
                case ev.Drained():
                    self.drained = True
                case ev.DrainAsked():
                    self.drain()

    def _fork(self) -> None:
        self._forked += 1
        hands = Handset(self._forked)
        hands.pid = 1000 + self._forked
        self.workers[self._forked] = Worker(self, hands)
        self.plane.attach(hands)


class SimMesh:
    """A network, its agents and one client, stepped by the test."""

    def __init__(self, seed: int = 0, **impairment: float) -> None:
        self.network = MemoryNetwork(seed, **impairment)
        self.executed: list[tuple[str, tuple[float, object]]] = []
        self.agents: dict[str, Agent] = {}
        self._incarnations = 0
        self.client = Client(self.network.link("client"), "client")
        self.mesh = Submitter(self.client, {})

    def start(self, *names: str, slots: int = 2) -> None:
        """Start agents, or start them anew."""
        for name in names:
            self._incarnations += 1
            self.agents[name] = Agent(self, name, self._incarnations, slots)

    def settle(self, *tasks: Task[object], within_s: float = 60.0) -> float:
        """Let time pass until the tasks are done; return how long it took."""
        began = self.network.now()
        done = self.network.settle(lambda: all(task.done() for task in tasks), within_s)
        assert done, f"not done after {within_s} s: {[task for task in tasks if not task.done()]}"
        return self.network.now() - began

    def leave(self) -> None:
        """Close the client as a mesh does, in its user's thread, while the network goes on."""
        with ThreadPoolExecutor(1) as users:
            closing = users.submit(self.client.close)
            while not closing.done():
                self.network.run_for(0.001)
        for work in closing.result():
            if work.owner is not None:
                work.owner.on_abandoned()

    def close(self) -> None:
        self.leave()
        for agent in self.agents.values():
            if agent._alive:
                agent.kill()
        self.network.sockets.close()
