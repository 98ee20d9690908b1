"""A registered function: a name, a version, and what is known of it without loading its code.

The code is kept apart, by the digest of its bytes, and is read only by who runs it. Pure.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.errors import ConfigError, ProtocolError

MOST_ENTRY_BYTES: Final = 64 * 1024
MOST_CODE_BYTES: Final = 900 * 1024
"""One value of a bucket is one message, with room for what goes around it."""

MOST_VERSION: Final = 10**9

_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


class Registered(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """One version of a registered function; `str()` is its reference, "describe@2".

    `digest` is what agents know the function by, `content` the digest, in hex, of its code as it
    is kept. `function` is its qualified name where it was registered; `owner` and `created` are
    as who registered it says. `options`: how its calls are run, as the sdk writes it; `keywords`
    are the names of options that it has parameters of. `python`: the minor version that it
    needs, "" for any; `stable`: the digest is one of its meaning, else `reason` says why not.
    """

    name: str
    version: int
    digest: bytes
    content: str
    function: str = ""
    description: str = ""
    owner: str = ""
    created: str = ""
    options: bytes = b""
    keywords: tuple[str, ...] = ()
    python: str = ""
    form: str = ""
    stable: bool = False
    reason: str = ""
    code_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def __repr__(self) -> str:
        about = f": {self.description!r}" if self.description else ""
        needs = f"Python {self.python}" if self.python else "any Python"
        made = f"{self.function}, {needs}, by {self.owner}, {self.created}"
        return f"<Registered {self} ({made}){about}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own would show what is packed.
        shown = ("name", "version", "function", "description", "owner", "created")
        return [(name, getattr(self, name)) for name in shown]

    @property
    def key(self) -> str:
        """Where it is described in the bucket of functions."""
        return subjects.function_key(self.name, self.version)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Registered)


def encode(entry: Registered) -> bytes:
    return _encoder.encode(entry)


def decode(key: str, value: bytes) -> Registered:
    """Return what `value` under `key` says; `ProtocolError` if it is no entry, or another's."""
    if len(value) > MOST_ENTRY_BYTES:
        raise ProtocolError(f"a registered function is not described by {len(value)} bytes")
    try:
        entry = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a registered function of protocol v1 ({error})") from error
    if entry.key != key or not 1 <= entry.version <= MOST_VERSION or "." in entry.name:
        raise ProtocolError(f"what {key!r} says is of {entry!s}")
    return entry


def kept_digest(kept: bytes) -> str:
    """Return the digest, in hex, of code as it is kept."""
    return hashlib.blake2b(kept, digest_size=16).hexdigest()


def check_name(name: str) -> str:
    """Return `name` if a function can be registered under it, else raise `ConfigError`."""
    subjects.check_name(name, "the function's name")
    if is_digest(name):
        raise ConfigError(
            f"the function's name {name!r} cannot be used: it would be taken for a digest",
            value=name,
        )
    return name


def check_version(version: object) -> int:
    """Return `version` if it can be one, else raise `ConfigError`."""
    if (
        not isinstance(version, int)
        or isinstance(version, bool)
        or not 1 <= version <= MOST_VERSION
    ):
        raise ConfigError(
            f"version={version!r}: give a whole number from 1 to {MOST_VERSION}, or None for the "
            "next one",
            value=version,
        )
    return version


def parse(reference: str) -> tuple[str, int | None]:
    """Return (name, version) of "describe@2", (name, None) of "describe", else `ConfigError`."""
    name, at, version = reference.partition("@")
    if at and _VERSION.fullmatch(version) is None:
        raise ConfigError(
            f"{reference!r}: behind '@' stands the number of a version, as in \"describe@2\"",
            value=reference,
        )
    subjects.check_name(name, "the function's name")
    return name, int(version) if at else None


def is_digest(text: str) -> bool:
    """Return whether `text` is a digest in hex."""
    return _DIGEST.fullmatch(text) is not None
