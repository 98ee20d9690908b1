"""NATS's keys: Ed25519 pairs, written as base32 with a letter that says whose they are.

A public key starts with O (operator), A (account) or U (user), a seed with S and that letter.
The form is that of the NATS project's nkeys: prefix, key, CRC-16/XMODEM, in base32 unpadded.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gossamer_mesh.errors import CredentialsError

Kind = Literal["operator", "account", "user"]

KEY_BYTES: Final = 32
_CRC_BYTES: Final = 2
_LETTER_BITS: Final = 3
_SEED: Final = 18 << _LETTER_BITS
_PREFIXES: Final[dict[Kind, int]] = {
    "operator": 14 << _LETTER_BITS,
    "account": 0,
    "user": 20 << _LETTER_BITS,
}
_KINDS: Final[dict[int, Kind]] = {prefix: kind for kind, prefix in _PREFIXES.items()}


class KeyPair:
    """A pair that signs. Shows only its public half."""

    def __init__(self, kind: Kind, raw: bytes) -> None:
        """`raw`: the 32 bytes that the pair is made from."""
        self.kind: Kind = kind
        self._raw = raw
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = _encode(bytes([_PREFIXES[kind]]) + public)

    @classmethod
    def new(cls, kind: Kind) -> KeyPair:
        return cls(kind, secrets.token_bytes(KEY_BYTES))

    @classmethod
    def from_seed(cls, seed: str) -> KeyPair:
        """Return the pair of a seed; `CredentialsError`, not repeating it, if it is none."""
        data = _decode(seed, "a seed", shown="")
        if len(data) != KEY_BYTES + 2 or data[0] & ~7 != _SEED:
            raise CredentialsError("not a seed of a key: it starts with S, then O, A or U")
        kind = _KINDS.get((data[0] & 7) << 5 | data[1] >> 3)
        if kind is None:
            raise CredentialsError("not the seed of an operator, an account or a user")
        return cls(kind, data[2:])

    @property
    def seed(self) -> str:
        """The secret half, as it is written in a file."""
        prefix = _PREFIXES[self.kind]
        return _encode(bytes([_SEED | prefix >> 5, (prefix & 31) << 3]) + self._raw)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"


def verifies(public: str, data: bytes, signature: bytes) -> bool:
    """Say whether `signature` is that of `public`'s other half over `data`."""
    try:
        raw = _decode(public, "a public key", shown=public)[1:]
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
    except (CredentialsError, InvalidSignature, ValueError):
        return False
    return True


def kind_of(public: str) -> Kind | None:
    """Return whose public key this is; None if it is none."""
    try:
        data = _decode(public, "a public key", shown=public)
    except CredentialsError:
        return None
    return _KINDS.get(data[0]) if len(data) == KEY_BYTES + 1 else None


def _encode(data: bytes) -> str:
    check = binascii.crc_hqx(data, 0).to_bytes(_CRC_BYTES, "little")
    return base64.b32encode(data + check).decode().rstrip("=")


def _decode(text: str, what: str, *, shown: str) -> bytes:
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        data = b""
    # The last character has bits to spare: of the spellings that say the same, one is right.
    if base64.b32encode(data).decode().rstrip("=") != text:
        data = b""
    body, check = data[:-_CRC_BYTES], data[-_CRC_BYTES:]
    if not body or binascii.crc_hqx(body, 0).to_bytes(_CRC_BYTES, "little") != check:
        told = f" ({shown[:80]!r})" if shown else ""
        raise CredentialsError(f"not {what} of NATS{told}: cut off, or altered")
    return body
