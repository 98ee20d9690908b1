"""A registered function: whose it is, its name and version, and what is known without its code.

Its owner is the user whose name its key starts with; the server lets nobody else write there. The
code is kept apart, by the digest of its bytes, and is read only by who runs it. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gossamer_mesh import subjects
from gossamer_mesh.errors import ConfigError, ProtocolError
from gossamer_mesh.units import counted

MOST_ENTRY_BYTES: Final = 64 * 1024
MOST_CODE_BYTES: Final = 900 * 1024
"""One value of a bucket is one message, with room for what goes around it."""

MOST_VERSION: Final = 10**9
ANY_VERSION: Final = "@*"
OWNERS_TOLD: Final = 4

_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


class Reference(NamedTuple):
    """What a registered function is called by; `str()` is that, as in "ada/describe@2".

    `owner` None: whoever is meant, `version` None: the newest.
    """

    owner: str | None
    name: str
    version: int | None = None

    def __str__(self) -> str:
        whose = "" if self.owner is None else f"{self.owner}/"
        return (
            f"{whose}{self.name}" if self.version is None else f"{whose}{self.name}@{self.version}"
        )


class Registered(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """One version of a registered function; `str()` is its full reference, "ada/describe@2".

    `digest` is what agents know the function by, `content` the digest, in hex, of its code as it is
    kept. `owner` is the user who registered it, by whose name it is kept. `function`, its qualified
    name there, and `created` are as that user says. `options`: how its calls are run, as the sdk
    writes it; `keywords` are the names of options that it has parameters of. `python`: the minor
    version that it needs, "" for any; `stable`: the digest is one of its meaning, else `reason`
    says why not.
    """

    owner: str
    name: str
    version: int
    digest: bytes
    content: str
    function: str = ""
    description: str = ""
    created: str = ""
    options: bytes = b""
    keywords: tuple[str, ...] = ()
    python: str = ""
    form: str = ""
    stable: bool = False
    reason: str = ""
    code_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}@{self.version}"

    def __repr__(self) -> str:
        about = f": {self.description!r}" if self.description else ""
        needs = f"Python {self.python}" if self.python else "any Python"
        made = f"{self.function}, {needs}, {self.created}"
        return f"<Registered {self} ({made}){about}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own would show what is packed.
        shown = ("owner", "name", "version", "function", "description", "created")
        return [(name, getattr(self, name)) for name in shown]

    @property
    def key(self) -> str:
        """Where it is described in the bucket of functions."""
        return subjects.function_key(self.owner, self.name, self.version)

    @property
    def code_key(self) -> str:
        """Where its code is in the bucket of code."""
        return subjects.code_key(self.owner, self.content)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Registered)


def encode(entry: Registered) -> bytes:
    return _encoder.encode(entry)


def decode(key: str, value: bytes) -> Registered:
    """Return what `value` under `key` says; `ProtocolError` if it is no entry, or another's.

    What it says of its owner is so, for that is how the key starts.
    """
    if len(value) > MOST_ENTRY_BYTES:
        raise ProtocolError(f"a registered function is not described by {len(value)} bytes")
    try:
        entry = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a registered function of protocol v1 ({error})") from error
    named = subjects.is_name(entry.owner) and subjects.is_name(entry.name)
    if (
        entry.key != key
        or not named
        or is_digest(entry.name)
        or not 1 <= entry.version <= MOST_VERSION
    ):
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


def parse(reference: str) -> Reference:
    """Return what "ada/describe@2", "describe@2", "ada/describe" or "describe" says.

    `ConfigError` for anything else.
    """
    owner, slash, rest = reference.partition("/")
    name, at, version = (rest if slash else reference).partition("@")
    if at and _VERSION.fullmatch(version) is None:
        raise ConfigError(
            f"{reference!r}: behind '@' stands the number of a version, as in \"describe@2\"",
            value=reference,
        )
    if slash:
        subjects.check_name(owner, "the owner's name")
    check_name(name)
    return Reference(owner if slash else None, name, int(version) if at else None)


def parse_pattern(pattern: str) -> Reference | str:
    """Return what a rule or a grant names: as `parse`, "ada/describe@*" too, or a digest in hex.

    `ConfigError` for anything else. All versions are meant where no version is said.
    """
    if is_digest(pattern.lower()):
        return pattern.lower()
    name = pattern.removesuffix(ANY_VERSION)
    return parse(pattern if "@" in name else name)


def say_whose(meant: Reference, owners: Sequence[str]) -> str:
    """Say that several have registered this name, and what to say instead."""
    told = [f"by {owner}" for owner in owners[:OWNERS_TOLD]]
    more = len(owners) - len(told)
    told += [f"by {counted(more, 'other')}"] if more else []
    whose = f"{', '.join(told[:-1])} and {told[-1]}"
    example = meant._replace(owner=owners[0])
    return f"{meant.name} is registered {whose}: say whose, as in '{example}'"


def is_digest(text: str) -> bool:
    """Return whether `text` is a digest in hex."""
    return _DIGEST.fullmatch(text) is not None
