"""One agent in one incarnation, as the keeper deals with it: what it owes, what it was told.

Makes the messages to it; whether they arrived is known from its numbered answers to pings.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from gossamer.arrivals import Arrivals
from gossamer.effects import Effect, SendControl, SendRun
from gossamer.lease import LEASE_S
from gossamer.work import Job, Work
from gossamer_mesh import wire
from gossamer_mesh.task import State
from gossamer_placement.candidate import Candidate

RESEND_S: Final = 1.0
"""What was sent so long before a ping, and is unknown to the agent that answers it, was lost."""

ASK_S: Final = 0.25
GAPS: Final = 16
"""So many gaps are asked for at a time."""

MOST_AHEAD: Final = 4096
"""So many messages beyond a gap, and what is missing is not waited for any more."""

TASKS: Final = 16_384
"""Tasks named in one message without a payload: far fewer than fit."""

TOO_LATE: Final = -1.0
"""The time left of a call that is asked after, and must not be started."""

MOST_BUSY: Final = 8
"""So many busy agents may send a call away; then it waits where it is sent."""

FUNCTIONS_KNOWN: Final = 4096


class Peer:
    """Messages are numbered over all peers: one up to `since` went to an earlier incarnation.

    `taken`: tasks whose large results it need not keep, each with the first ping that says so;
    until one of those is answered.
    """

    def __init__(
        self,
        candidate: Candidate,
        numbers: Iterator[int],
        lease_s: float = LEASE_S,
        token: Callable[[], str] = str,
    ) -> None:
        """`token` says by what agents know us by now, "" for by nothing."""
        self.agent = candidate.document.agent
        self.incarnation = candidate.document.incarnation
        self.candidate = candidate
        self.owed: dict[int, Work] = {}
        self.used = False
        self.token = token
        self._introduced = False
        self.pinged_at = -math.inf
        self.silent_since: float | None = None
        self.ended_at = -math.inf
        self.since = next(numbers)
        self._numbers = numbers
        self._lease_s = lease_s
        self._arrivals = Arrivals()
        self._asked_at = -math.inf
        self._knows: set[bytes] = set()
        self._knows_most = FUNCTIONS_KNOWN
        self._code_at = -math.inf
        self._code_sent: set[bytes] = set()
        self._unsure: set[int] = set()
        self._acked = 0
        self.taken: dict[int, int] = {}
        self._pings = 0
        self._answers: list[tuple[int, float]] = []
        self._unanswered: collections.deque[tuple[int, float]] = collections.deque()
        self.rtt_s = 0.0

    # -- what it says ------------------------------------------------------------------------

    def take(self, seq: int, now: float, effects: list[Effect]) -> bool:
        """Note that message `seq` is here, and ask for those that are missing; False: again."""
        self.silent_since = None
        arrivals = self._arrivals
        if not arrivals.take(seq):
            return False
        if arrivals.missing and now - self._asked_at >= ASK_S:
            self._asked_at = now
            gaps = arrivals.gaps(GAPS)
            if arrivals.ahead > MOST_AHEAD:
                self.gone(*gaps[0], now, effects)
            for first, last in gaps:
                effects.append(self.control(wire.Resend(self.incarnation, first, last)))
        return True

    def settle(self, work: Work) -> None:
        """Take in that the agent has ended this attempt, or will not have it."""
        del self.owed[work.number]
        if self._unsure:
            self._unsure.discard(work.number)

    def has(self, work: Work) -> None:
        """Take in that the agent knows of this attempt."""
        self._unsure.discard(work.number)

    def is_unsure_of(self, work: Work) -> bool:
        """Whether what the agent said of this attempt may have been lost for good."""
        return work.number in self._unsure

    def need_code(self, function: bytes, now: float, effects: list[Effect]) -> None:
        """Send the code of what it was sent calls of; should that be lost, it asks again."""
        if now - self._code_at >= ASK_S:
            self._code_at = now
            self._code_sent.clear()
        if function in self._knows and function not in self._code_sent:
            self._code_sent.add(function)
            effects.append(self.control(wire.Code(function, self._code(function))))

    def gone(self, first: int, last: int, now: float, effects: list[Effect]) -> None:
        """Messages are lost for good: ask for every outcome that may have been in them.

        Until each work was heard of, nothing more is acknowledged, lest outcomes are forgotten.
        """
        acked = self._arrivals.contiguous
        if not self._arrivals.give_up(first, last):
            return
        if not self._unsure:
            self._acked = acked
        self._unsure.update(self.owed)
        self.send_again(list(self.owed.values()), now, effects)

    def took(self, task: int) -> None:
        """Have the next pings say that its large result need not be kept, until one is answered."""
        self.taken[task] = self._pings + 1

    def answered(self, number: int, seq: int, now: float) -> float | None:
        """Ping `number` is answered, in message `seq`: return the round trip, None if it is old."""
        if self.taken:
            # It has named all that was taken before it was sent.
            self.taken = {task: first for task, first in self.taken.items() if first > number}
        asked_at = -math.inf
        while self._unanswered and self._unanswered[0][0] <= number:
            asked_at = self._unanswered.popleft()[1]
        if asked_at == -math.inf:
            return None
        self._answers.append((seq, asked_at))
        self.rtt_s = max(0.0, now - asked_at)
        return self.rtt_s

    def send_what_was_lost(self, now: float, effects: list[Effect]) -> None:
        """Repeat what an agent that has answered should know by now, and does not."""
        if not self._answers:
            return
        upto = self._arrivals.contiguous
        # Before an answer counts, all that was said before it has to be here.
        asked = [asked_at for seq, asked_at in self._answers if seq <= upto]
        if not asked:
            return
        self._answers = [answer for answer in self._answers if answer[0] > upto]
        before = max(asked) - RESEND_S
        late: list[Work] = []
        cancelled: list[int] = []
        for work in self.owed.values():
            if work.sent_at >= before:
                continue
            if work.cancelled:
                cancelled.append(work.number)
            if work.state is State.PLACED or work.number in self._unsure:
                late.append(work)
        if late:
            self.send_again(late, now, effects)
        if cancelled:
            self.cancel(cancelled, now, effects)

    def _code(self, function: bytes) -> bytes:
        for work in self.owed.values():
            if work.job.function == function:
                return work.job.code
            for digest, content in work.job.includes:
                if digest == function:
                    return content
        return b""

    # -- what it is told ---------------------------------------------------------------------

    def control(self, message: wire.Control) -> SendControl:
        return SendControl(self.agent, next(self._numbers), message)

    def introduce(self) -> None:
        """Say who we are before the next calls: it was not heard, or has expired."""
        self._introduced = False

    def ping(self, now: float, coordinate: tuple[float, ...] = ()) -> SendControl:
        """Ask for a sign of life; it renews our lease and acknowledges what has arrived."""
        self._pings += 1
        self.pinged_at = now
        if self.silent_since is None:
            self.silent_since = now
        self._unanswered.append((self._pings, now))
        acked = self._acked if self._unsure else self._arrivals.contiguous
        return self.control(
            wire.Ping(
                self._pings,
                self.incarnation,
                acked,
                self._lease_s,
                self.rtt_s,
                coordinate,
                tuple(self.taken),
            )
        )

    def forgive(self) -> None:
        """Count silence from the next ping: it was we who could not be heard."""
        self.silent_since = None
        self._unanswered.clear()
        self._answers.clear()

    def cancel(self, tasks: Sequence[int], now: float, effects: list[Effect]) -> None:
        for task in tasks:
            self.owed[task].sent_at = now
        effects.extend(
            self.control(wire.Cancel(list(tasks[at : at + TASKS])))
            for at in range(0, len(tasks), TASKS)
        )

    def ask_back(self, tasks: Sequence[int]) -> SendControl:
        """Ask for works that it has not started."""
        return self.control(wire.Return(list(tasks)))

    def send(self, works: Iterable[Work], job: Job, now: float, effects: list[Effect]) -> None:
        """Send works of one job, in messages that are not too large."""
        if not self._introduced:
            self._introduced = True
            if token := self.token():
                effects.append(self.control(wire.Hello(token)))
        first = job.function not in self._knows
        if first:
            self._learn(job.function)
            for digest, _ in job.includes:
                self._learn(digest)
        self.used = True
        calls: list[wire.Call] = []
        size = len(job.code) if first else 0
        number = next(self._numbers)
        deadline_s = job.hint.deadline_s
        for work in works:
            work_size = work.wire_size if work.holds else work.size
            if calls and size + work_size > wire.BATCH_BYTES:
                effects.append(self._run(number, job, calls, with_code=first))
                number = next(self._numbers)
                first = False
                calls, size = [], 0
            size += work_size
            if work.holds:
                self.candidate.sent([digest for digest, _ in work.kept])
            work.sent = number
            work.sent_at = now
            # 0 would mean that it has no deadline.
            left_s = (work.submitted_at + deadline_s - now or TOO_LATE) if deadline_s else 0.0
            decision = work.decision
            patience_s = 0.0
            if decision is not None and work.busy < MOST_BUSY:
                patience_s = decision.patience_s
            calls.append(
                wire.Call(
                    work.number,
                    work.attempt,
                    work.payload,
                    work.items,
                    left_s,
                    work.buffers,
                    patience_s,
                    work.blob,
                    work.refs,
                )
            )
        effects.append(self._run(number, job, calls, with_code=first))

    def send_again(self, works: Iterable[Work], now: float, effects: list[Effect]) -> None:
        """Repeat the same attempts: the agent runs none of them twice, and says what it knows.

        What was cancelled meanwhile, or may run once at most and may have been forgotten, is
        only asked after: it comes too late to be run.
        """
        again: dict[Job, list[Work]] = {}
        asked: dict[Job, list[Work]] = {}
        for work in works:
            job = work.job
            ask = work.cancelled or (job.retries == 0 and work.number in self._unsure)
            (asked if ask else again).setdefault(job, []).append(work)
        for job, same in again.items():
            self.send(same, job, now, effects)
        for job, same in asked.items():
            for at in range(0, len(same), TASKS):
                calls = [
                    wire.Call(work.number, work.attempt, b"", work.items, TOO_LATE)
                    for work in same[at : at + TASKS]
                ]
                effects.append(self._run(next(self._numbers), job, calls, with_code=False))
        for same in itertools.chain(again.values(), asked.values()):
            for work in same:
                work.sent, work.sent_at = 0, now

    def _run(self, number: int, job: Job, calls: list[wire.Call], *, with_code: bool) -> SendRun:
        run = wire.Run(self.incarnation, job.on_wire(with_code=with_code), calls)
        return SendRun(self.agent, number, run)

    def _learn(self, function: bytes) -> None:
        knows = self._knows
        knows.add(function)
        if len(knows) > self._knows_most:
            # It keeps more than we need to remember: what is sent again does no harm.
            knows.intersection_update([work.job.function for work in self.owed.values()])
            knows.add(function)
            self._knows_most = max(FUNCTIONS_KNOWN, 2 * len(knows))
