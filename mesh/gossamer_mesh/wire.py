"""What travels: MessagePack structs, one tag each, decoded with bounds and a clear error.

Fields are only ever appended, with defaults; nothing is retyped. Durations are in seconds and
mean "time left" or "time spent": no wall clock is compared with another machine's.
"""

from __future__ import annotations

from typing import Final, Literal, TypeVar

import msgspec

from gossamer_mesh.errors import ProtocolError

T = TypeVar("T")

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""nats-server's default `max_payload`."""

INLINE_BYTES: Final = 256 * 1024
"""A larger payload (pickle and buffers together) is a blob, and a message only names it."""

BATCH_BYTES: Final = 512 * 1024
"""Batches are split here, so that one more call never runs into the message limit."""

Refusal = Literal[
    "full",
    "draining",
    "incarnation",
    "expired",
    "incapable",
    "lost",
    "python",
    "returned",
    "busy",
    "space",
    "stranger",
    "denied",
]
Status = Literal["ok", "error", "crashed", "timeout", "cancelled", "expired"]
Orphans = Literal["cancel", "finish"]
StreamName = Literal["stdout", "stderr"]


class _Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Compact on the wire: an array, its tag first."""


class AgentState(_Wire, frozen=True, array_like=True, gc=False):
    """How busy an agent is, as of its `seq`-th report in this incarnation.

    `queue_s` is what a call of one slot would wait here, as far as the agent can tell, with what
    runs counted in when no slot is free. `cold_s` is what has to pass besides before anything
    can start (a batch job that is waited for): the median, and `cold_high_s` the 90th percentile.
    `claimed`: how many units of which named resource running and waiting calls ask for.
    """

    seq: int
    slots: int
    free: int
    queued: int
    queue_s: float
    room: int
    draining: bool = False
    cold_s: float = 0.0
    cold_high_s: float = 0.0
    claimed: tuple[tuple[str, int], ...] = ()


class Job(_Wire, frozen=True, array_like=True):
    """What the calls of one `Run` have in common: code and demand.

    `resources`: how many units of which named resource a call has for itself. `includes`: the
    digests of what the function may import besides; agents ask for it as they do for code.
    """

    function: bytes
    name: str
    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0
    timeout_s: float = 0.0
    orphans: Orphans = "cancel"
    python: str = ""
    code: bytes = b""
    resources: tuple[tuple[str, int], ...] = ()
    includes: tuple[bytes, ...] = ()


class Blob(_Wire, frozen=True, array_like=True, gc=False):
    """A payload too large for a message: its digest (BLAKE3), its size, and who has it.

    Whoever sees the holder's files need not be sent it: it lies in `directory` under its digest,
    and `proof` shows that the holder can read the secret that lies beside it.
    """

    digest: bytes
    size: int
    holder: str
    directory: str = ""
    proof: bytes = b""


class Call(_Wire, frozen=True, array_like=True):
    """One attempt of one task. `items` > 0: the payload is a list of so many argument tuples.

    `patience_s` > 0: it is to be refused ("busy") rather than wait for longer than that. With a
    `blob` the payload is there instead; `refs` are the blobs of the references in it.
    """

    task: int
    attempt: int
    payload: bytes
    items: int = 0
    left_s: float = 0.0
    buffers: tuple[bytes, ...] = ()
    patience_s: float = 0.0
    blob: Blob | None = None
    refs: tuple[Blob, ...] = ()


class Run(_Wire, frozen=True, array_like=True, tag="run"):
    """1…n calls for one incarnation of an agent."""

    incarnation: int
    job: Job
    calls: list[Call]


class Ping(_Wire, frozen=True, array_like=True, tag="ping", gc=False):
    """Are you there? Renews the caller's lease; `acked`: every `Out` up to here has arrived.

    `rtt_s` is the last round trip the caller has measured to this agent, 0 before it has, and
    `coordinate` where the caller was then. `taken`: tasks whose large results need not be kept
    any longer; they are named until a ping that names them is answered.
    """

    number: int
    incarnation: int
    acked: int
    lease_s: float = 30.0
    rtt_s: float = 0.0
    coordinate: tuple[float, ...] = ()
    taken: tuple[int, ...] = ()


class Cancel(_Wire, frozen=True, array_like=True, tag="cancel"):
    """Stop these tasks, whatever their attempt."""

    tasks: list[int]


class Return(_Wire, frozen=True, array_like=True, tag="return"):
    """Give back (`Refused`, "returned") those of these tasks that have not been started."""

    tasks: list[int]


class Resend(_Wire, frozen=True, array_like=True, tag="resend", gc=False):
    """Send the `Out` messages numbered `first`…`last` again."""

    incarnation: int
    first: int
    last: int


class Code(_Wire, frozen=True, array_like=True, tag="code", gc=False):
    """The code an agent asked for; empty when the caller no longer has it."""

    function: bytes
    code: bytes


class Leave(_Wire, frozen=True, array_like=True, tag="leave", gc=False):
    """The caller is going: forget what it is owed."""


class Drain(_Wire, frozen=True, array_like=True, tag="drain", gc=False):
    """Take no more work, finish what is running, then leave the mesh."""


class Hello(_Wire, frozen=True, array_like=True, tag="hello", gc=False):
    """Who the caller is: its user's token. Said before the first `Run`, and when it is asked for.

    An agent that wants to know, and does not, refuses calls as those of a "stranger".
    """

    jwt: str


Control = Ping | Cancel | Return | Resend | Code | Leave | Drain | Hello


class Accepted(_Wire, frozen=True, array_like=True, tag="a", gc=False):
    """The attempt is queued here."""

    task: int
    attempt: int


class Started(_Wire, frozen=True, array_like=True, tag="s", gc=False):
    """The attempt has been running since `ran_s`."""

    task: int
    attempt: int
    ran_s: float = 0.0


class Refused(_Wire, frozen=True, array_like=True, tag="r", gc=False):
    """The attempt was not run and will not be run here."""

    task: int
    attempt: int
    reason: Refusal
    detail: str = ""


class NeedCode(_Wire, frozen=True, array_like=True, tag="n", gc=False):
    """The agent has calls of this function, and not its code; or not what it includes."""

    function: bytes


class Done(_Wire, frozen=True, array_like=True, tag="d"):
    """How an attempt ended. `payload`: the pickled value, exception or chunk.

    `cold`: it was the first call of its function in its worker, so that `ran_s` has the imports
    in it. `unfit`: it failed for something that this machine lacks, a module or memory. With a
    `blob` the value is there instead.
    """

    task: int
    attempt: int
    status: Status
    payload: bytes = b""
    queued_s: float = 0.0
    ran_s: float = 0.0
    worker: int = 0
    buffers: tuple[bytes, ...] = ()
    stdout: str = ""
    stderr: str = ""
    note: str = ""
    cold: bool = False
    unfit: bool = False
    blob: Blob | None = None


class Pong(_Wire, frozen=True, array_like=True, tag="p", gc=False):
    """The answer to `Ping(number)`, with how many of the caller's calls are here."""

    number: int
    owed: int
    coordinate: tuple[float, ...] = ()


class Gone(_Wire, frozen=True, array_like=True, tag="g", gc=False):
    """The `Out` messages asked for again are no longer kept."""

    first: int
    last: int


class Log(_Wire, frozen=True, array_like=True, tag="l", gc=False):
    """What an attempt has printed, `at_s` after its start, while it runs.

    `number` counts the logs of the attempt from 1; `left` characters before this text are cut.
    """

    task: int
    attempt: int
    number: int
    stream: StreamName
    text: str
    at_s: float = 0.0
    left: int = 0


class Progress(_Wire, frozen=True, array_like=True, tag="f", gc=False):
    """How far an attempt says it is, from 0 to 1."""

    task: int
    attempt: int
    fraction: float
    note: str = ""


Record = Accepted | Started | Refused | NeedCode | Done | Pong | Gone | Log | Progress


class Out(_Wire, frozen=True, array_like=True, tag="out"):
    """1…n records for one caller, with the agent's fresh state.

    `seq` counts the messages of this incarnation to this caller from 1, so that a caller sees
    what it has missed. 0 has no number: logs and progress, which nobody keeps to send again.
    """

    seq: int
    incarnation: int
    state: AgentState
    records: list[Record]


class Heartbeat(_Wire, frozen=True, array_like=True, tag="hb"):
    """I am here. `revision` counts the versions of the capability document."""

    agent: str
    site: str
    incarnation: int
    revision: int
    interval_s: float
    state: AgentState
    coordinate: tuple[float, ...] = ()


class Claim(_Wire, frozen=True, array_like=True, tag="claim", gc=False):
    """An agent asks for its name, or the holder of the name answers."""

    agent: str
    incarnation: int
    host: str


class Ask(_Wire, frozen=True, array_like=True, tag="ask", gc=False):
    """Send `length` bytes of a blob from `offset` on, in chunks marked with `fetch`."""

    fetch: int
    digest: bytes
    offset: int
    length: int


class Taken(_Wire, frozen=True, array_like=True, tag="taken", gc=False):
    """The asker has the result of `task`, or does not want it: it need not be kept any longer.

    Should this be lost, the next `Ping` says the same. `task` 0: any one with this digest.
    """

    digest: bytes
    task: int = 0


class Bring(_Wire, frozen=True, array_like=True, tag="bring", gc=False):
    """Connect to `port` of one of `hosts` and send a blob there, from `offset` to its end.

    `ticket` is what both sides prove there that they have. Who cannot do so says so by a chunk
    of `fetch`, and the asker has chunks. `sealed`: what is sent is encrypted with the ticket.
    """

    fetch: int
    digest: bytes
    offset: int
    hosts: tuple[str, ...]
    port: int
    ticket: bytes
    sealed: bool = False


Asked = Ask | Taken | Bring

_encoder: Final = msgspec.msgpack.Encoder()
encode: Final = _encoder.encode

_run: Final = msgspec.msgpack.Decoder(Run)
_control: Final[msgspec.msgpack.Decoder[Control]] = msgspec.msgpack.Decoder(Control)
_out: Final = msgspec.msgpack.Decoder(Out)
_heartbeat: Final = msgspec.msgpack.Decoder(Heartbeat)
_claim: Final = msgspec.msgpack.Decoder(Claim)
_asked: Final[msgspec.msgpack.Decoder[Asked]] = msgspec.msgpack.Decoder(Asked)


def decoded(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    """Return what is in a message; `ProtocolError`, which calls it `what`, if it is none."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            f"{what} of {len(data)} bytes refused: the limit is {MAX_MESSAGE_BYTES}"
        )
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(
            f"not a {what} of protocol v1 ({error}): do both sides run the same version?"
        ) from error


def decode_run(data: bytes) -> Run:
    return decoded(_run, data, "run message")


def decode_control(data: bytes) -> Control:
    return decoded(_control, data, "control message")


def decode_out(data: bytes) -> Out:
    return decoded(_out, data, "out message")


def decode_heartbeat(data: bytes) -> Heartbeat:
    return decoded(_heartbeat, data, "heartbeat")


def decode_claim(data: bytes) -> Claim:
    return decoded(_claim, data, "claim")


def decode_asked(data: bytes) -> Asked:
    return decoded(_asked, data, "ask for a blob")
