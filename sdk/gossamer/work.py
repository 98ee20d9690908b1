"""What a keeper holds of one task, and what the tasks of one function have in common."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from gossamer_mesh import wire
from gossamer_mesh.errors import MeshError
from gossamer_mesh.task import State
from gossamer_placement.model import Decision, Demand, Hint

RETRIES: Final = 2

CALL_BYTES: Final = 64
"""About what a call takes in a message besides its payload."""


BLOB_BYTES: Final = 256
"""About what the name of a large payload takes in a message."""

ATTEMPT: Final = (
    "number",
    "state",
    "attempt",
    "agent",
    "sent",
    "sent_at",
    "placed_at",
    "asked_back_at",
    "decision",
    "coming",
    "result",
)
"""What a record says of the attempt under way, and not of the task."""


class Job(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A function with its demand and options: the same for all its calls.

    `wait_s` is how long its calls wait for an agent that can run them, where there is none.
    `idempotent`: running a call twice does no harm; `hedge`: a late one is run twice. `bound`:
    why only the Python that `demand` names can run it; `includes`: (digest, content) of what it
    may import of the user's.
    """

    function: bytes
    name: str
    code: bytes
    demand: Demand
    hint: Hint = Hint()
    timeout_s: float = 0.0
    retries: int = RETRIES
    orphans: wire.Orphans = "cancel"
    wait_s: float = 0.0
    idempotent: bool = True
    hedge: bool = False
    bound: str = ""
    includes: tuple[tuple[bytes, bytes], ...] = ()

    def on_wire(self, *, with_code: bool) -> wire.Job:
        demand = self.demand
        return wire.Job(
            self.function,
            self.name,
            demand.cpus,
            demand.gpus,
            demand.memory_bytes,
            self.timeout_s,
            self.orphans,
            demand.python,
            self.code if with_code else b"",
            demand.resources,
            tuple([digest for digest, _ in self.includes]) if self.includes else (),
        )


class Owner:
    """Who waits for a task. Called in the link's thread; must be short and must not raise."""

    __slots__ = ()

    def on_running(self) -> None:
        """The task has been running for a while."""

    def on_told(self, record: wire.Log | wire.Progress) -> None:
        """The task prints something, or says how far it is."""

    def on_ended(self) -> None:
        """The task's `outcome` is there. Called once."""

    def on_abandoned(self) -> None:
        """The mesh is closed: nobody keeps the task any more."""


class Work(msgspec.Struct, eq=False):
    """One task: what to send, where it is, how it ended. Times are the link's monotonic clock.

    `busy` counts the agents that had too much to do when it came, `without_room` those that had
    no room for its payload. `size` is about how many bytes travel with the call; in the message,
    of one that `holds` large payloads, `wire_size`. `sent` is the number of the only message that
    carried the current attempt, 0 once there has been another; `sent_at` is when its agent was
    last told of it, `asked_back_at` when it was last asked to give it back. A large payload is a
    `blob`, and `refs` are those that it refers to; `holds` keeps them. `coming` is an outcome
    whose large value is being fetched, and `result` holds that when it is here.

    `number` is what agents call it, and `id` its caller: another one once its backup has taken its
    place. `before` is then what became of the attempt that was replaced, until a retry has paid
    for it; a `backup` itself has no owner.
    """

    number: int
    job: Job
    payload: bytes
    buffers: tuple[bytes, ...]
    items: int
    submitted_at: float
    size: int
    retries: int
    owner: Owner | None = None
    state: State = State.SUBMITTED
    attempt: int = 0
    agent: str = ""
    refusals: int = 0
    busy: int = 0
    without_room: int = 0
    sent: int = 0
    sent_at: float = 0.0
    placed_at: float = 0.0
    asked_back_at: float = -math.inf
    ended_at: float = 0.0
    cancelled: bool = False
    decision: Decision | None = None
    outcome: wire.Done | None = None
    problem: MeshError | None = None
    blob: wire.Blob | None = None
    refs: tuple[wire.Blob, ...] = ()
    holds: tuple[object, ...] = ()
    coming: wire.Done | None = None
    result: Any = None
    backup: bool = False
    before: str = ""
    first_number: int = -1

    @property
    def id(self) -> int:
        """Its number as its caller knows it."""
        return self.number if self.first_number < 0 else self.first_number

    def swap(self, other: Work) -> None:
        """Let two records of one task exchange their attempts."""
        self.first_number = self.id
        for name in ATTEMPT:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)

    @property
    def kept(self) -> tuple[tuple[bytes, int], ...]:
        """What an agent keeps once it was sent there: by its digest, with its size."""
        blobs = self.refs if self.blob is None else (self.blob, *self.refs)
        return tuple([(blob.digest, blob.size) for blob in blobs])

    @property
    def wire_size(self) -> int:
        """About how many bytes it takes in a message."""
        named = len(self.refs) + (self.blob is not None)
        return CALL_BYTES + len(self.payload) + sum(map(len, self.buffers)) + named * BLOB_BYTES


def new_work(
    number: int,
    job: Job,
    payload: bytes,
    buffers: tuple[bytes, ...],
    items: int,
    submitted_at: float,
) -> Work:
    """Return the record of a task that is about to be submitted."""
    size = CALL_BYTES + len(payload)
    if buffers:
        size += sum(map(len, buffers))
    return Work(number, job, payload, buffers, items, submitted_at, size, job.retries)
