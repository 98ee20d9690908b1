"""Why a task could not end well, in words that say what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer.advice import more_memory
from gossamer.suggestion import meant
from gossamer_mesh.capability import LAPSED
from gossamer_mesh.errors import (
    AgentRefusedError,
    MeshError,
    NoAgentError,
    NotAllowedError,
    PayloadTooLargeError,
    TaskExpiredError,
    TaskLostError,
    TaskTimeoutError,
    VersionMismatchError,
    WorkerCrashedError,
)
from gossamer_mesh.units import counted, show_seconds
from gossamer_placement.explain import parts, ruled_out
from gossamer_placement.fleet import REFUSED
from gossamer_placement.requirements import ALLOW, lacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gossamer.work import Job, Work
    from gossamer_mesh import wire
    from gossamer_placement.fleet import Fleet
    from gossamer_placement.model import Demand, Term

OUT_OF_MEMORY: Final = "out of memory?"
"""So agents say of a process that was killed, perhaps by the kernel for its memory."""

DENIED: Final = "denied: "
"""What an agent says of a call begins with this where it is its rules that refuse it."""

LAST_WORDS: Final = 200
"""So many characters of what a task printed last go into the error of its death."""


def no_agent(job: Job, fleet: Fleet, trouble: str = "", *, waited_s: float = 0.0) -> MeshError:
    """Nobody can run the calls of this job.

    `trouble` is what is known of the reason, `waited_s` how long one was waited for.
    """
    demand = job.demand
    total = len(fleet)
    way_out = _way_out(waited_s)
    if total == 0:
        return NoAgentError(
            f"no agent is on the mesh to run {job.name}: start one with "
            "`gossamer agent start`, have one join (`gossamer invite agent`), or start a mesh of "
            "this machine's own (`gossamer up`)"
            + (f" ({trouble})" if trouble else "")
            + f"; {way_out}",
            function=job.name,
        )
    pythons = sorted({candidate.document.python for candidate in fleet})
    if demand.python and demand.python not in pythons:
        why = f" ({job.bound})" if job.bound else ""
        return VersionMismatchError(
            f"{job.name} can only be run by Python {demand.python}, because it is sent as a "
            f"pickle{why}; the agents run {', '.join(pythons)}: make it self-contained "
            "(`gossamer explain-function` says what is in the way), send your own modules with "
            f"gossamer.include(), start an agent with Python {demand.python}, or run this client "
            "with theirs",
            function=job.name,
            needed=demand.python,
            found=tuple(pythons),
            reason=job.bound,
        )
    counts = dict(fleet.feasible(demand).ruled_out)
    reasons = ruled_out(counts)
    refusals = fleet.refusals(demand)
    if refusals:
        agent, reason = next(iter(refusals.items()))
        denied = {who: why for who, why in refusals.items() if why.startswith(DENIED)}
        if denied:
            agent, reason = next(iter(denied.items()))
            # What the refusals say is said once, by one of them.
            others = {what: n for what, n in counts.items() if not what.startswith(REFUSED)}
            besides = f"{ruled_out(others)}; " if others else ""
            return NotAllowedError(
                f"0 of {total} agents take {job.name} from you: {besides}{agent} says: "
                f"{reason.removeprefix(DENIED)}",
                function=job.name,
                agent=agent,
                reason=reason.removeprefix(DENIED),
                ruled_out=counts,
            )
        return AgentRefusedError(
            f"0 of {total} agents take {job.name}: {reasons}; "
            f"{agent} says: {reason}. Its document says otherwise: restart it, or ask for less",
            agent=agent,
            reason=reason,
            ruled_out=counts,
        )
    _, closest, lacking = min(_lacking(demand, fleet))
    listed = ": it runs what its configuration lists, and no more" if lacking == [ALLOW] else ""
    return NoAgentError(
        f"0 of {total} agents match {job.name}: {reasons}; closest: {closest} (lacks "
        f"{', '.join(lacking)}{listed}){meant(demand, fleet)}{_lapsed(demand, fleet)}; {way_out}",
        function=job.name,
        ruled_out=counts,
        closest=closest,
        lacks=tuple(lacking),
    )


def _lacking(demand: Demand, fleet: Fleet) -> Iterator[tuple[int, str, list[str]]]:
    """Give each agent with what it lacks, and how far that is from what is asked for."""
    for candidate in fleet:
        lacking = lacks(demand, candidate.document)
        # Who was asked for by name is the one that matters, whatever it lacks.
        far = 0 if candidate.document.agent == demand.agent else len(lacking)
        yield far, candidate.document.agent, lacking


def _lapsed(demand: Demand, fleet: Fleet) -> str:
    """Return what an agent says that lacks nothing but a rule of its list that holds."""
    for candidate in fleet:
        said = [each for each in candidate.document.warnings if each.startswith(LAPSED)]
        if said and lacks(demand, candidate.document) == [ALLOW]:
            told = "; ".join(each.removeprefix(LAPSED) for each in said)
            return f"; {candidate.document.agent} says: {told}"
    return ""


def _way_out(waited_s: float) -> str:
    if waited_s:
        return f"none has joined in {show_seconds(waited_s)}"
    return 'wait="5m" waits for one to join'


def too_slow(job: Job, best: Term) -> NoAgentError:
    """No agent is expected to have the result in time; `best` is the one that comes closest."""
    deadline_s = job.hint.deadline_s
    return NoAgentError(
        f"no agent can bring {job.name} within {show_seconds(deadline_s)}: the best is "
        f"{best.agent} with {show_seconds(best.eta_s)} ({parts(best)}); give it more time, or "
        "leave the deadline out",
        function=job.name,
        deadline_s=deadline_s,
        agent=best.agent,
        eta_s=best.eta_s,
    )


def too_dear(job: Job, best: Term) -> NoAgentError:
    """No agent is expected to keep to the budget; `best` is the one that comes closest."""
    budget = job.hint.budget or 0.0
    return NoAgentError(
        f"no agent runs {job.name} for {budget:g} or less: the best is {best.agent} with "
        f"{best.cost:.3g} ({show_seconds(best.run_s)} of running); raise the budget, or leave "
        "it out",
        function=job.name,
        budget=budget,
        agent=best.agent,
        cost=best.cost,
    )


def refused(work: Work, refusal: wire.Refused) -> MeshError:
    """It was refused too often, or nobody has room for its payload."""
    if refusal.reason == "space":
        return PayloadTooLargeError(
            f"{work.job.name}: {refusal.detail} (after {counted(work.without_room, 'refusal')}, "
            f"the last of {work.agent})",
            agent=work.agent,
            size=work.size,
        )
    return AgentRefusedError(
        f"{work.job.name} was refused {counted(work.refusals, 'time')}, the last time by "
        f"{work.agent} ({refusal.reason}: {refusal.detail}): see that agent's log",
        agent=work.agent,
        reason=refusal.reason,
        task=work.id,
    )


def expired(work: Work) -> MeshError:
    """Its deadline passed before it was started."""
    return TaskExpiredError(
        f"{work.job.name}: its deadline passed before it was started", task=work.id
    )


def lost(work: Work, how: str) -> MeshError:
    """Its agent is gone, and it may not be run again; nor is there a backup any more."""
    return TaskLostError(
        f"{work.job.name}: {how}{_before(work)}, and "
        f"retries={work.job.retries} allows no other attempt; it may have run",
        agent=work.agent,
        task=work.id,
    )


def how_lost(work: Work, why: str) -> str:
    """Say that the agent of an attempt is gone, or has let go of it."""
    return f"agent {work.agent} {why} while it had the task"


def how_killed(work: Work, done: wire.Done) -> str:
    """Say that an attempt was killed, by whatever it was."""
    if done.status == "timeout":
        return f"it ran longer than its timeout on {work.agent}"
    return f"it lost its worker on {work.agent} ({done.note})"


def _before(work: Work) -> str:
    """Say what became of the attempt that a backup has replaced."""
    return f" (it was a backup; before that, {work.before})" if work.before else ""


def ended_badly(work: Work, done: wire.Done) -> MeshError:
    """Its attempt timed out, expired or crashed."""
    name = work.job.name
    if done.status == "timeout":
        return TaskTimeoutError(
            f"{name} ran longer than its timeout of {show_seconds(work.job.timeout_s)} on "
            f"{work.agent} and was killed{_before(work)}: give it more with timeout=",
            agent=work.agent,
            timeout_s=work.job.timeout_s,
        )
    if done.status == "expired":
        return expired(work)
    tries = f" (attempt {work.attempt})" if work.attempt > 1 else ""
    more = ""
    if OUT_OF_MEMORY in done.note:
        more = f"; if so, {more_memory(work.job.demand.memory_bytes)}"
    return WorkerCrashedError(
        f"{name} lost its worker on {work.agent}{tries}: {done.note}{_last_words(done)}"
        f"{more}{_before(work)}",
        agent=work.agent,
        cause=done.note,
    )


def _last_words(done: wire.Done) -> str:
    """Return the last line that it printed, if the note has not told it already."""
    said = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2][-LAST_WORDS:]
    return f"; it said last: {said}" if said and said not in done.note else ""
