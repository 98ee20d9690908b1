"""Reads what agents send: results, chunks of results, errors. None of it is believed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from gossamer_mesh.errors import MeshError, PayloadError, RemoteError, UntrustedResultError
from gossamer_mesh.payload.parts import Instance, Name, Named
from gossamer_mesh.payload.rebuild import Rebuild
from gossamer_mesh.payload.scan import scan
from gossamer_mesh.payload.trust import Trust

_WORKER: Final = "gossamer_agent.worker.pickling"
"""Where the worker's `named` and `instance` are; both are spelled here, not imported."""

REMOTE_TRACEBACK: Final = "remote traceback"
"""So begins the note in which an exception has it."""

_PAYLOAD_ERROR: Final = "gossamer_mesh.errors.PayloadError"


Buffers = Sequence[bytes | bytearray | memoryview]


def load_value(
    data: bytes, buffers: Buffers, trust: Trust, *, agent: str, ours: bool = False
) -> object:
    """Return the result in `data`.

    `UntrustedResultError` if it holds a type that `trust` does not accept; the bytes stay good
    for another try. `PayloadError` for whatever else is wrong with them. Arrays come back
    writable, over their own copy of a buffer; over the buffers as they are, if those are `ours`.
    """
    try:
        if scan(data):
            if not buffers:
                return pickle.loads(data)  # noqa: S301 - no opcode in it can name or call anything
            return pickle.loads(data, buffers=_own(buffers, ours=ours))  # noqa: S301 - as above
        unpickler = _Unpickler(data, _own(buffers, ours=ours), trust, agent)
        return Rebuild(trust).finish(unpickler.load())
    except UntrustedResultError:
        raise
    # A stranger's bytes can fail in any way, and code of a trusted package may run.
    except Exception as error:
        raise PayloadError(
            f"the result from agent {agent!r} cannot be read: {_said(error)}", agent=agent
        ) from error


def _own(buffers: Buffers, *, ours: bool) -> Buffers:
    return buffers if ours else [*map(bytearray, buffers)]


def load_put(data: bytes, buffers: Buffers, names: Mapping[str, object]) -> object:
    """Return an object that this process itself has pickled with `dump_object`, to send it.

    What was left out by a name is put back from `names`.
    """
    return _Own(data, buffers, names).load()


class _Own(pickle.Unpickler):
    """For our own bytes, so that it believes them."""

    def __init__(self, data: bytes, buffers: Buffers, names: Mapping[str, object]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._names = names

    def persistent_load(self, pid: Any, /) -> object:
        return self._names[pid]


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, MeshError) else f"{type(error).__name__}: {error}"


class _Unpickler(pickle.Unpickler):
    """Finds nothing but `Name`s. The pickle has been scanned: there are no persistent ids."""

    def __init__(self, data: bytes, buffers: Buffers, trust: Trust, agent: str) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._trust = trust
        self._agent = agent

    def find_class(self, module: str, name: str, /) -> Name | Named | Instance:
        if module == _WORKER:
            if name == "instance":
                return Instance()
            if name == "named":
                return Named(self._name)
        return self._name(module, name)

    def _name(self, module: str, qualname: str) -> Name:
        return self._trust.name(module, qualname, self._agent)


def load_chunk(
    data: bytes, buffers: Buffers, trust: Trust, *, agent: str, ours: bool = False
) -> tuple[list[object], list[tuple[int, bytes]]]:
    """Return a chunk's values, None where one failed, and (index, error payload) of those."""
    chunk = load_value(data, buffers, trust, agent=agent, ours=ours)
    match chunk:
        case (list(), list()):
            values, errors = cast("tuple[list[object], list[object]]", chunk)
            if all(_is_failure(error, len(values)) for error in errors):
                return values, cast("list[tuple[int, bytes]]", errors)
        case _:
            pass
    raise PayloadError(f"the chunk from agent {agent!r} is not values and errors", agent=agent)


def _is_failure(failure: object, size: int) -> bool:
    match failure:
        case (int() as index, bytes()):
            return 0 <= index < size
        case _:
            return False


def load_error(data: bytes, trust: Trust, *, agent: str) -> BaseException:
    """Return the exception that ended a task, as itself where its type is accepted.

    It has the remote traceback as a note and as `remote_traceback`, and its causes and contexts
    likewise. What is not accepted, or is no `Exception` (a remote SystemExit must not end this
    process), is a `RemoteError` with the same message and traceback.
    """
    records = load_value(data, (), Trust(), agent=agent)
    if type(records) is not list or not records:
        raise PayloadError(f"the error from agent {agent!r} is empty", agent=agent)
    chain = [_Record(record, agent) for record in cast("list[object]", records)]
    rebuilt = [record.exception(trust, agent) for record in chain]
    for index, record in enumerate(chain):
        record.link(rebuilt, index)
    root, text = rebuilt[0], chain[0].traceback
    if text:
        BaseException.add_note(root, f"{REMOTE_TRACEBACK}, from agent {agent!r}:\n{text}")
    return root


class _Record:
    """One exception of the chain: kind, message, traceback, pickle, cause, context, suppress."""

    def __init__(self, record: object, agent: str) -> None:
        match record:
            case (
                str() as kind,
                str() as message,
                str() as traceback,
                (bytes() | None) as pickled,
                int() as cause,
                int() as context,
                bool() as suppress,
            ):
                self.kind, self.message, self.traceback = kind, message, traceback
                self.pickled, self.suppress = pickled, suppress
                self.cause, self.context = cause, context
            case _:
                raise PayloadError(f"the error from agent {agent!r} is malformed", agent=agent)

    def exception(self, trust: Trust, agent: str) -> BaseException:
        made = self._as_itself(trust, agent)
        if made is None and self.kind == _PAYLOAD_ERROR:
            made = PayloadError(self.message, agent=agent)
        if made is None:
            made = RemoteError(
                f"{self.kind}: {self.message}",
                kind=self.kind,
                traceback=self.traceback,
                agent=agent,
            )
        vars(made)["remote_traceback"] = self.traceback
        return made

    def _as_itself(self, trust: Trust, agent: str) -> Exception | None:
        if self.pickled is None:
            return None
        try:
            made = load_value(self.pickled, (), trust, agent=agent)
        except MeshError:
            return None
        return made if isinstance(made, Exception) else None

    def link(self, chain: list[Any], index: int) -> None:
        """Set cause and context. Both come later in the chain, so that there is no cycle."""
        made = chain[index]
        if index < self.context < len(chain):
            made.__context__ = chain[self.context]
        if index < self.cause < len(chain):
            made.__cause__ = chain[self.cause]
        made.__suppress_context__ = self.suppress
