"""Lines are placed and sent, or it is said why they cannot be. Part of the keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer import problems
from gossamer.placing import CHECK_S
from gossamer_mesh.task import Event, State

if TYPE_CHECKING:
    from gossamer.backlog import Backlog, Line
    from gossamer.effects import Effect
    from gossamer.ends import Ends
    from gossamer.lessons import Lessons
    from gossamer.peer import Peer
    from gossamer.placing import Placing
    from gossamer.work import Work
    from gossamer_placement.fleet import Fleet

PATIENCE_S: Final = 10.0
"""How long tasks wait for a first agent, or for another one that can."""

SETTLE_S: Final = 1.0
"""How long, once the agents' documents are here, tasks wait that no agent can run."""

LINES_TRIED: Final = 32
"""So many lines in a row for which nobody has room, and the others wait for the next event."""


class Sending:
    """Works on the keeper's own `peers` and lines.

    Nothing is sent while the server is not `up`, or while it is `holding` back until the agents
    are known; `trouble` is why there may be none, `settled_at` when all of them were known.
    """

    def __init__(
        self,
        fleet: Fleet,
        peers: dict[str, Peer],
        backlog: Backlog,
        placing: Placing,
        lessons: Lessons,
        ends: Ends,
    ) -> None:
        self.up = True
        self.holding = False
        self.trouble = ""
        self.settled_at: float | None = None
        self._fleet = fleet
        self._peers = peers
        self._backlog = backlog
        self._placing = placing
        self._lessons = lessons
        self._ends = ends

    def everything(self, now: float, effects: list[Effect]) -> None:
        """Let the lines in turn have what room there is; who gets some goes to the end."""
        backlog = self._backlog
        untried, in_vain = len(backlog), 0
        while untried > 0:
            lines = backlog.some(in_vain, min(untried, LINES_TRIED))
            untried -= len(lines)
            served = sum(self.line(line, now, effects) for line in lines)
            in_vain += len(lines) - served
            if not served:
                if untried > 0:
                    # Others shall be tried the next time.
                    for line in lines:
                        backlog.served(line)
                return

    def line(self, line: Line, now: float, effects: list[Effect]) -> bool:
        """Place what can be placed of a line; say whether it got anywhere."""
        if not self.up or self.holding:
            return False
        self._lessons.learn()
        job, works = line.job, line.works
        if not self._fleet.feasible(job.demand).agents:
            return self._nobody(line, now, effects)
        line.alone_since = None
        hint = job.hint
        if hint.deadline_s or hint.budget is not None:
            self._fail_impossible(line, now, effects)
            if not works:
                return True
        placed, numbers = self._placing.place(line, self._backlog, now)
        batches: dict[str, list[Work]] = {}
        for decision, count in placed:
            agent = decision.agent
            batch = batches.setdefault(agent, [])
            owed = self._peers[agent].owed
            for _ in range(count):
                work = works.pop(numbers[decision.index]) if decision.index >= 0 else line.pop()
                work.agent = agent
                work.attempt += 1
                work.placed_at = now
                work.decision = decision
                # `step` would say so too, a burst of calls later.
                work.state = State.PLACED
                owed[work.number] = work
                batch.append(work)
        for agent, batch in batches.items():
            self._peers[agent].send(batch, job, now, effects)
        if placed:
            self._backlog.served(line)
        return bool(placed)

    def _fail_impossible(self, line: Line, now: float, effects: list[Effect]) -> None:
        """End calls for which nobody could keep the deadline or the budget."""
        for work, problem in self._placing.hopeless(line, now):
            self._backlog.remove(work)
            work.problem = problem
            self._ends.finish(work, Event.FAIL, now, effects)

    def expire(self, now: float, effects: list[Effect]) -> None:
        """End what still waits here though its deadline has passed."""
        for line in list(self._backlog):
            deadline_s = line.job.hint.deadline_s
            if not deadline_s:
                continue
            late = [work for work in line.works.values() if now > work.submitted_at + deadline_s]
            for work in late:
                self._backlog.remove(work)
                work.problem = problems.expired(work)
                self._ends.finish(work, Event.EXPIRE, now, effects)

    def _nobody(self, line: Line, now: float, effects: list[Effect]) -> bool:
        """No agent can run this: wait a little for one, then say why."""
        if line.alone_since is None:
            line.alone_since = now
        settled = self.settled_at is not None and now - self.settled_at > SETTLE_S
        # An agent that has had it, and did not refuse it, may be back in a moment.
        never = line.first().attempt == 0 or bool(self._fleet.refusals(line.job.demand))
        wait_s = line.job.wait_s
        since, patience_s = line.alone_since, max(PATIENCE_S, wait_s)
        if settled and never and wait_s:
            # What was asked for, also where it is less than we wait on our own account.
            patience_s = wait_s
        if settled and never and len(self._fleet) > 0 and not wait_s:
            tired = list(line.works.values())
        elif now - since <= patience_s or now - line.checked_at < CHECK_S:
            return False
        else:
            # Who came later waits as long from then on.
            line.checked_at = now
            tired = [
                work
                for work in line.works.values()
                if now - max(since, work.submitted_at) > patience_s
            ]
        problem = problems.no_agent(line.job, self._fleet, self.trouble, waited_s=wait_s)
        for work in tired:
            self._backlog.remove(work)
            work.problem = problem
            self._ends.finish(work, Event.FAIL, now, effects)
        return not line.works
