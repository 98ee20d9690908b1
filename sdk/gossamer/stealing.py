"""Calls that wait at a busy agent while another one idles: asked back, to be placed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossamer_mesh.task import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from gossamer.peer import Peer
    from gossamer.work import Work
    from gossamer_placement.candidate import Candidate
    from gossamer_placement.fleet import Fleet

LEAST_S: Final = 0.2
"""Not for less: asking back and sending again takes time, too."""

GAIN: Final = 1.2
AGAIN_S: Final = 2.0
ELSEWHERE: Final = frozenset({"fastest", "spread"})
"""Who prefers something else than speed would rather wait where it waits, unless it has a
deadline."""

WAITING: Final = frozenset({State.PLACED, State.ACCEPTED})


def to_return(peers: Collection[Peer], fleet: Fleet, now: float) -> dict[str, list[int]]:
    """Return agent → tasks that would end sooner on an agent that has nothing to do."""
    found: dict[str, list[int]] = {}
    idle = {candidate.name: candidate.free for candidate in fleet if _is_idle(candidate)}
    if idle:
        _reserve(idle, peers, now)
    if not idle:
        return found
    for peer in peers:
        candidate = peer.candidate
        if not _may_have_a_line(peer):
            continue
        waiting = [work for work in peer.owed.values() if _may_go(work, now)]
        # The last one waits longest, and those before it as much less as they are before it.
        for place in range(len(waiting), 0, -1):
            work = waiting[place - 1]
            other = _better(work, place, candidate, idle, fleet)
            if other is None:
                break
            idle[other] -= work.job.demand.cpus
            # What it has of a named resource is taken now.
            if idle[other] < work.job.demand.cpus or work.job.demand.resources:
                del idle[other]
            work.asked_back_at = now
            found.setdefault(peer.agent, []).append(work.number)
    return found


def _reserve(idle: dict[str, int], peers: Collection[Peer], now: float) -> None:
    """Take out what is meant for calls that are on their way back."""
    asked = sum(
        work.job.demand.cpus
        for peer in peers
        if _may_have_a_line(peer)
        for work in peer.owed.values()
        if work.state in WAITING and now - work.asked_back_at < AGAIN_S
    )
    for name, free in list(idle.items()):
        taken = min(free, asked)
        asked -= taken
        idle[name] -= taken
        if not idle[name]:
            del idle[name]


def _may_have_a_line(peer: Peer) -> bool:
    """Return whether calls of ours may wait there: for slots, or for a named resource."""
    return len(peer.owed) > peer.candidate.slots or bool(peer.candidate.claimed)


def _is_idle(candidate: Candidate) -> bool:
    return (
        candidate.outstanding == 0
        and candidate.free > 0
        and candidate.queued == 0
        and not (candidate.suspect or candidate.full or candidate.state.draining)
    )


def _may_go(work: Work, now: float) -> bool:
    return (
        work.state in WAITING
        and not work.cancelled
        # A backup given back is none any more.
        and not work.backup
        and (work.job.hint.objective in ELSEWHERE or work.job.hint.deadline_s > 0.0)
        and now - work.placed_at >= LEAST_S
        and now - work.asked_back_at >= AGAIN_S
    )


def _better(
    work: Work, place: int, at: Candidate, idle: dict[str, int], fleet: Fleet
) -> str | None:
    """Return the idle agent where a call that is the `place`-th in line would end first."""
    job = work.job
    times = fleet.estimates.runtimes.of(job.function)
    if times.count == 0:
        return None
    items = work.items or 1
    size = work.size // items
    run_s = times.run_s(at.hardware, at.name, size, items)
    needs = job.demand.resources
    at_once = at.at_once(job.demand.cpus, needs) if needs else at.slots / job.demand.cpus
    ends_s = run_s * (1 + place / at_once)
    feasible = fleet.feasible(job.demand)
    best: str | None = None
    for name, free in idle.items():
        other = fleet.get(name)
        if other is None or other not in feasible or free < job.demand.cpus:
            continue
        if needs and other.claims_s(needs, run_s):
            continue
        there_s = times.run_s(other.hardware, name, size, items) + other.rtt_s + at.rtt_s
        if there_s * GAIN + LEAST_S < ends_s:
            best, ends_s = name, (there_s * GAIN + LEAST_S)
    return best
