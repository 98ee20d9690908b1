"""What follows from how an attempt ends: an outcome, another one, a loss. Part of the keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer import problems
from gossamer.placing import DENIED_S, PARDON_S
from gossamer_mesh.task import Event

if TYPE_CHECKING:
    from gossamer.backups import Backups
    from gossamer.effects import Effect
    from gossamer.ends import Ends
    from gossamer.hedging import Hedges
    from gossamer.lessons import Lessons
    from gossamer.peer import Peer
    from gossamer.work import Work
    from gossamer_mesh import wire
    from gossamer_placement.fleet import Fleet

MOST_REFUSALS: Final = 100

MOST_WITHOUT_ROOM: Final = 8
"""So many agents have no room for a large payload: there will be none."""

KILLED: Final = frozenset({"crashed", "timeout"})
"""How an attempt ends of which the function itself has said nothing."""


class Attempts:
    """`full`: the keeper's own, of the agents that have said so."""

    def __init__(
        self,
        fleet: Fleet,
        lessons: Lessons,
        hedges: Hedges,
        backups: Backups,
        ends: Ends,
    ) -> None:
        self._fleet = fleet
        self._lessons = lessons
        self._hedges = hedges
        self._backups = backups
        self._ends = ends
        self.full: set[str] = set()

    def done(
        self, work: Work, done: wire.Done, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """Take in the outcome of an attempt; what is to be placed again goes to `back`."""
        status = done.status
        if work.cancelled:
            # Its owner has had one outcome already.
            self._ends.finish(work, Event.CANCEL, now, effects)
        elif status == "ok":
            self._lessons.note(work, done, now)
            original = self._hedges.original(work)
            if original is not None:
                self._backups.overtaken(original, work, done, now, effects)
            work.outcome = done
            self._ends.finish(work, Event.SUCCEED, now, effects)
        elif status == "cancelled":
            why = "gave it up, for it had not heard from us,"
            self.lost(work, why, now, effects, back)
        else:
            self._lessons.note(work, done, now)
            if status in KILLED:
                if self._backups.taken_over(work, problems.how_killed(work, done), now, effects):
                    return
                if status == "crashed" and work.retries > 0:
                    self._retry(work, back)
                    return
            work.outcome = done
            if status != "error":
                work.problem = problems.ended_badly(work, done)
            event = Event.EXPIRE if status == "expired" else Event.FAIL
            self._ends.finish(work, event, now, effects)

    def refused(
        self,
        peer: Peer,
        work: Work,
        refusal: wire.Refused,
        now: float,
        effects: list[Effect],
        back: list[Work],
    ) -> None:
        """The agent does not run it; what is to be placed again goes to `back`."""
        unsure = peer.is_unsure_of(work)
        peer.settle(work)
        if work.cancelled:
            self._ends.finish(work, Event.CANCEL, now, effects)
            return
        match refusal.reason:
            case "lost":
                self.lost(work, "no longer knows its outcome", now, effects, back)
                return
            case "expired" if unsure:
                self.lost(work, "lost what it had to say,", now, effects, back)
                return
            case "expired":
                work.problem = problems.expired(work)
                self._ends.finish(work, Event.EXPIRE, now, effects)
                return
            case "full" | "space":
                peer.candidate.full = True
                self.full.add(peer.agent)
                work.without_room += refusal.reason == "space"
            case "incapable" | "python" | "denied":
                self._rule_out(peer, work, refusal, now)
                work.refusals += 1
            case "stranger":
                peer.introduce()
                work.refusals += 1
            case "returned":
                # We asked for it.
                pass
            case "busy":
                # What it has to do came with the refusal: another will look better now.
                work.busy += 1
            case "draining" | "incarnation":
                # It will not take anything again; what it says next will put this right.
                peer.candidate.suspect = True
                work.refusals += 1
        if work.refusals >= MOST_REFUSALS or work.without_room >= MOST_WITHOUT_ROOM:
            work.problem = problems.refused(work, refusal)
            self._ends.finish(work, Event.FAIL, now, effects)
        else:
            why = f"refused it ({refusal.reason})"
            self._never_ran(work, why, now, effects, back)

    def _rule_out(self, peer: Peer, work: Work, refusal: wire.Refused, now: float) -> None:
        reason = f"{refusal.reason}: {refusal.detail}"
        denied = refusal.reason == "denied"
        since = now - (PARDON_S - DENIED_S) * denied
        demand = work.job.demand
        self._fleet.rule_out(peer.agent, demand, reason, since, for_function=denied)

    def lost(
        self, work: Work, why: str, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """An attempt that may have run has no outcome."""
        if work.cancelled:
            self._ends.finish(work, Event.CANCEL, now, effects)
            return
        how = problems.how_lost(work, why)
        if not self._backups.taken_over(work, how, now, effects):
            self._perhaps_again(work, how, now, effects, back)

    def _never_ran(
        self, work: Work, why: str, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """An attempt was not run: another costs none of the task's retries."""
        if work.backup:
            # It is worth one try: its original is under way.
            self._ends.finish(work, Event.CANCEL, now, effects)
        elif self._backups.taken_over(work, "", now, effects):
            pass
        elif work.before:
            # But the attempt whose place it had taken may have run.
            self._perhaps_again(work, f"agent {work.agent} {why}", now, effects, back)
        else:
            back.append(work)

    def give_back(self, works: list[Work], now: float, effects: list[Effect]) -> None:
        """Let works that were never run wait again, unless nobody wants them any more."""
        back: list[Work] = []
        for work in works:
            if work.cancelled:
                self._ends.finish(work, Event.CANCEL, now, effects)
            else:
                self._never_ran(work, "did not have it", now, effects, back)
        self._ends.put_back(back)

    def _perhaps_again(
        self, work: Work, how: str, now: float, effects: list[Effect], back: list[Work]
    ) -> None:
        """Spend a retry, if there is one left."""
        if work.retries > 0:
            self._retry(work, back)
        else:
            work.problem = problems.lost(work, how)
            self._ends.finish(work, Event.LOSE, now, effects)

    def _retry(self, work: Work, back: list[Work]) -> None:
        work.retries -= 1
        work.before = ""
        back.append(work)
