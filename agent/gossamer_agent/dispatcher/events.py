"""What the dispatcher hears (events) and what it wants done (effects)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from gossamer_agent.worker.frames import ResultFrame
from gossamer_mesh.wire import Blob, Record, Run, StreamName

Why = Literal["timeout", "cancelled", "lease"]


class RunArrived(msgspec.Struct, frozen=True, gc=False):
    """A caller sends calls. `at`: when that is by the clock on the wall, where it matters who."""

    caller: str
    run: Run
    at: float = 0.0


class CodeArrived(msgspec.Struct, frozen=True, gc=False):
    """A caller answers `NeedCode`; empty code: it has none."""

    caller: str
    function: bytes
    code: bytes


class Staged(msgspec.Struct, frozen=True, gc=False):
    """A blob of a caller is here, in the file `path`, for as long as a call of its needs it."""

    caller: str
    digest: bytes
    path: str


class StageFailed(msgspec.Struct, frozen=True, gc=False):
    """A blob of a caller cannot be had; `full`: there is no room for it now."""

    caller: str
    digest: bytes
    why: str
    full: bool = False


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A large result can be fetched by its caller; without a `blob` it is lost, for `note`."""

    caller: str
    task: int
    blob: Blob | None
    note: str = ""


class ResultTaken(msgspec.Struct, frozen=True, gc=False):
    """All that a caller had to fetch before we may go is fetched, or its lease has ended."""


class AllowanceChanged(msgspec.Struct, frozen=True, gc=False):
    """Only these functions may run from now on: their code, by digest.

    `lapsed`: those that a rule is about which does not hold, and why.
    """

    code: Mapping[bytes, bytes]
    lapsed: Mapping[bytes, str] = {}


class PolicyChanged(msgspec.Struct, frozen=True, gc=False):
    """Others may run other things from now on. `code`: of what was granted by name, by digest.

    `at`: when that is by the clock on the wall.
    """

    code: Mapping[bytes, bytes]
    at: float


class CancelAsked(msgspec.Struct, frozen=True, gc=False):
    """A caller gives up tasks, whatever their attempt."""

    caller: str
    tasks: Sequence[int]


class ReturnAsked(msgspec.Struct, frozen=True, gc=False):
    """A caller wants back what of these tasks has not been handed to a worker."""

    caller: str
    tasks: Sequence[int]


class CallerHeard(msgspec.Struct, frozen=True, gc=False):
    """A caller is alive, and may be silent for `lease_s` from now."""

    caller: str
    lease_s: float


class CallerAcked(msgspec.Struct, frozen=True, gc=False):
    """The caller has the outcomes of these tasks: they need not be remembered."""

    caller: str
    tasks: Sequence[int]


class ResultsDropped(msgspec.Struct, frozen=True, gc=False):
    """The outcomes of these tasks were sent, and cannot be sent again."""

    caller: str
    tasks: Sequence[int]


class CallerLeft(msgspec.Struct, frozen=True, gc=False):
    """A caller says goodbye."""

    caller: str


class WorkerUp(msgspec.Struct, frozen=True, gc=False):
    """A fresh worker is connected."""

    worker: int
    pid: int


class ResultsArrived(msgspec.Struct, frozen=True, gc=False):
    """A worker finished calls, in the order in which it was given them."""

    worker: int
    frames: Sequence[ResultFrame]


class Piece(NamedTuple):
    """What was written to a stream, `left` characters of which are missing before it."""

    stream: StreamName
    text: str
    left: int = 0


class Said(NamedTuple):
    """How far a call says it is."""

    fraction: float
    note: str


class Printed(msgspec.Struct, frozen=True, gc=False):
    """What is new of call `seq`; `ended`: there will be no more of it."""

    worker: int
    seq: int
    pieces: Sequence[Piece]
    said: Said | None = None
    ended: bool = False


class Garbled(msgspec.Struct, frozen=True, gc=False):
    """What a worker sent cannot be read."""

    worker: int


class Revoked(msgspec.Struct, frozen=True, gc=False):
    """After `Revoke`: of the calls up to `upto` the worker starts none later than `current`.

    Should it have shied from `current` itself, it says so by a result frame.
    """

    worker: int
    current: int
    upto: int


class Condemned(msgspec.Struct, frozen=True, gc=False):
    """Control asks for leave to kill a worker because of call `seq`."""

    worker: int
    seq: int


class WorkerGone(msgspec.Struct, frozen=True, gc=False):
    """A worker is seen to have ended. `current`: the last call it started."""

    worker: int
    current: int
    cause: str


class SpawnFailed(msgspec.Struct, frozen=True, gc=False):
    """A worker that was asked for will not come."""

    cause: str


class DrainAsked(msgspec.Struct, frozen=True, gc=False):
    """Take nothing new; give back what has not started."""


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time has passed."""


Event = (
    RunArrived
    | CodeArrived
    | AllowanceChanged
    | PolicyChanged
    | Staged
    | StageFailed
    | Stored
    | ResultTaken
    | CancelAsked
    | ReturnAsked
    | CallerHeard
    | CallerAcked
    | ResultsDropped
    | CallerLeft
    | WorkerUp
    | ResultsArrived
    | Printed
    | Garbled
    | Revoked
    | Condemned
    | WorkerGone
    | SpawnFailed
    | DrainAsked
    | Tick
)


class ToWorker(msgspec.Struct, frozen=True, gc=False):
    """Send bytes to a worker."""

    worker: int
    data: bytes


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """Have a caller's blob, then report `Staged` or `StageFailed`; never at once."""

    caller: str
    blob: Blob


class Store(msgspec.Struct, frozen=True, gc=False):
    """Make a blob of the file that a worker told of, then report `Stored`; never at once."""

    caller: str
    task: int
    told: bytes


class Reply(msgspec.Struct, frozen=True, gc=False):
    """Tell a caller."""

    caller: str
    records: list[Record]


class Tell(msgspec.Struct, frozen=True, gc=False):
    """Tell a caller at once what it can do without: it is not sent again."""

    caller: str
    records: list[Record]


class Revoke(msgspec.Struct, frozen=True, gc=False):
    """Forbid a worker to start calls up to `upto`, then report `Revoked`."""

    worker: int
    upto: int


class Spawn(msgspec.Struct, frozen=True, gc=False):
    """Control: start so many more workers."""

    count: int


class Retire(msgspec.Struct, frozen=True, gc=False):
    """Control: end an idle worker; it is fed no more."""

    worker: int
    why: str


class Overdue(msgspec.Struct, frozen=True, gc=False):
    """Control: call `seq` on this worker must end; ask with `Condemned`."""

    worker: int
    seq: int
    why: Why


class Kill(msgspec.Struct, frozen=True, gc=False):
    """Control: leave is given, kill it now."""

    worker: int


class Drained(msgspec.Struct, frozen=True, gc=False):
    """Control: nothing is left to do here."""


Effect = (
    ToWorker | Fetch | Store | Reply | Tell | Revoke | Spawn | Retire | Overdue | Kill | Drained
)
