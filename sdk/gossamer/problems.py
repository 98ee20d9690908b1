"""Why a task could not end well, in words that say what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossamer_mesh.errors import (
    AgentRefusedError,
    MeshError,
    NoAgentError,
    TaskExpiredError,
    TaskLostError,
    TaskTimeoutError,
    VersionMismatchError,
    WorkerCrashedError,
)
from gossamer_mesh.units import show_seconds
from gossamer_placement.fleet import lacks

if TYPE_CHECKING:
    from gossamer.work import Job, Work
    from gossamer_mesh import wire
    from gossamer_placement.fleet import Fleet


def no_agent(job: Job, fleet: Fleet, trouble: str = "") -> MeshError:
    """Nobody can run the calls of this job; `trouble` is what is known of the reason."""
    demand = job.demand
    total = len(fleet)
    if total == 0:
        return NoAgentError(
            f"no agent is on the mesh to run {job.name}: start one with "
            "`gossamer agent start`, or `gossamer up` on this machine"
            + (f" ({trouble})" if trouble else "")
        )
    pythons = sorted({candidate.document.python for candidate in fleet})
    if demand.python and demand.python not in pythons:
        return VersionMismatchError(
            f"{job.name} is code of Python {demand.python}; the agents run "
            f"{', '.join(pythons)}: start an agent with Python {demand.python}, or run "
            "this client with theirs",
            function=job.name,
            needed=demand.python,
            found=tuple(pythons),
        )
    ruled_out = dict(fleet.feasible(demand).ruled_out)
    reasons = ", ".join(f"{constraint} ruled out {n}" for constraint, n in ruled_out.items())
    refusals = fleet.refusals(demand)
    if refusals:
        agent, reason = next(iter(refusals.items()))
        return AgentRefusedError(
            f"0 of {total} agents take {job.name}: {reasons}; "
            f"{agent} says: {reason}. Its document says otherwise: restart it, or ask for less",
            agent=agent,
            reason=reason,
            ruled_out=ruled_out,
        )
    closest = min(fleet, key=lambda candidate: len(lacks(demand, candidate.document)))
    lacking = ", ".join(lacks(demand, closest.document))
    return NoAgentError(
        f"0 of {total} agents match {job.name}: {reasons}; closest: "
        f"{closest.document.agent} (lacks {lacking})",
        function=job.name,
        ruled_out=ruled_out,
    )


def refused(work: Work, refusal: wire.Refused) -> MeshError:
    """It was refused too often."""
    return AgentRefusedError(
        f"{work.job.name} was refused {work.refusals} times, the last time by {work.agent} "
        f"({refusal.reason}: {refusal.detail}): see that agent's log",
        agent=work.agent,
        reason=refusal.reason,
        task=work.number,
    )


def expired(work: Work) -> MeshError:
    """Its deadline passed before it was started."""
    return TaskExpiredError(
        f"{work.job.name}: its deadline passed before it was started", task=work.number
    )


def lost(work: Work, why: str) -> MeshError:
    """Its agent is gone, and it may not be run again."""
    return TaskLostError(
        f"{work.job.name}: agent {work.agent} {why} while it had the task, and "
        f"retries={work.job.retries} allows no other attempt; it may have run",
        agent=work.agent,
        task=work.number,
    )


def ended_badly(work: Work, done: wire.Done) -> MeshError:
    """Its attempt timed out, expired or crashed."""
    name = work.job.name
    if done.status == "timeout":
        return TaskTimeoutError(
            f"{name} ran longer than its timeout of {show_seconds(work.job.timeout_s)} on "
            f"{work.agent} and was killed: give it more with timeout=",
            agent=work.agent,
            timeout_s=work.job.timeout_s,
        )
    if done.status == "expired":
        return expired(work)
    tries = f" (attempt {work.attempt})" if work.attempt > 1 else ""
    return WorkerCrashedError(
        f"{name} lost its worker on {work.agent}{tries}: {done.note}",
        agent=work.agent,
        cause=done.note,
    )
