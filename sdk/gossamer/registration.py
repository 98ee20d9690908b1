"""What the registry keeps of a function: made of a function, or read back without loading it."""

from __future__ import annotations

import datetime as dt
import reprlib
from collections.abc import Callable
from typing import Final

import msgspec

from gossamer.functions import options_of, own_names
from gossamer.options import Options
from gossamer_mesh import registered
from gossamer_mesh.code.function import describe
from gossamer_mesh.errors import ConfigError, PayloadTooLargeError, ProtocolError
from gossamer_mesh.kept import pack
from gossamer_mesh.registered import MOST_CODE_BYTES, MOST_ENTRY_BYTES, Registered
from gossamer_mesh.text import check_text
from gossamer_mesh.units import show_bytes

_options_decoder: Final = msgspec.msgpack.Decoder(Options)


def entry_of(
    fn: Callable[..., object],
    owner: str,
    name: str | None,
    version: int | None,
    description: str | None,
) -> tuple[Registered, bytes]:
    """Return what `owner` is to register of `fn`, as version 1 if none is given, and its code.

    `ConfigError` for a name or version that cannot be one, `PayloadError`,
    `PayloadTooLargeError`.
    """
    code = describe(fn)
    kept = pack(code)
    if len(kept) > MOST_CODE_BYTES:
        raise PayloadTooLargeError(
            f"{code.name}: its code takes {show_bytes(len(kept))}, and the registry keeps at most "
            f"{show_bytes(MOST_CODE_BYTES)} of a function: let it read what it captures from a "
            "path",
            size=len(kept),
            limit=MOST_CODE_BYTES,
        )
    entry = Registered(
        owner=owner,
        name=registered.check_name(code.name.rpartition(".")[2] if name is None else name),
        version=1 if version is None else registered.check_version(version),
        digest=code.digest,
        content=registered.kept_digest(kept),
        function=code.name,
        description=_description(fn, description),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        options=msgspec.msgpack.encode(options_of(fn)),
        keywords=tuple(sorted(own_names(fn))),
        python=code.python,
        form=code.form,
        stable=code.stable,
        reason=code.reason,
        code_bytes=len(code.code),
    )
    size = len(registered.encode(entry))
    if size > MOST_ENTRY_BYTES:
        raise ConfigError(
            f"{entry}: what is said of it takes {show_bytes(size)}, and at most "
            f"{show_bytes(MOST_ENTRY_BYTES)} are kept: shorten its description",
            size=size,
            limit=MOST_ENTRY_BYTES,
        )
    return entry, kept


def options_in(entry: Registered) -> Options:
    """Return how calls of it are run; `ProtocolError` if that cannot be read."""
    try:
        return _options_decoder.decode(entry.options)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(
            f"the options of {entry} cannot be read ({error}): was it registered with a newer "
            "version of gossamer?"
        ) from error


def is_same(one: Registered, other: Registered) -> bool:
    """Return whether calls of the two run the same code in the same way."""
    return one.digest == other.digest and options_in(one) == options_in(other)


def _description(fn: Callable[..., object], given: object) -> str:
    if given is None:
        return check_text(_first_line(fn), "the first line of its docstring, ")
    if not isinstance(given, str):
        raise ConfigError(f"description={reprlib.repr(given)}: give it as text", value=given)
    return check_text(given, "description=")


def _first_line(fn: Callable[..., object]) -> str:
    text = getattr(fn, "__doc__", None)
    lines = text.strip().splitlines() if isinstance(text, str) else []
    return lines[0].strip() if lines else ""
