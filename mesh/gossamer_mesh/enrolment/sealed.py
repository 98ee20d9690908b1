"""What the registrar keeps, signed: nats-server does not look where servers of sites write.

A subject that begins with `_R_.` is taken from a leaf whatever its permissions say, so whoever has
a leaf's key could write to any bucket that somebody let in was of another role.
"""

from __future__ import annotations

from typing import Final

from gossamer_mesh.errors import ProtocolError
from gossamer_mesh.identity.nkey import KeyPair, verifies

_SIGNATURE_BYTES: Final = 64


class Seal:
    """Signs with a key that nobody but registrars has."""

    def __init__(self, pair: KeyPair) -> None:
        self._pair = pair

    def put(self, bucket: str, key: str, value: bytes) -> bytes:
        """Return what to keep there."""
        return self._pair.sign(_said(bucket, key, value)) + value

    def read(self, bucket: str, key: str, kept: bytes) -> bytes:
        """Return what was put there; `ProtocolError` if somebody else has written it."""
        signature, value = kept[:_SIGNATURE_BYTES], kept[_SIGNATURE_BYTES:]
        if not verifies(self._pair.public, _said(bucket, key, value), signature):
            raise ProtocolError("not written by a registrar: whoever has a leaf's key may have")
        return value


class Open:
    """Signs nothing: where no leaf is heard, only registrars can write."""

    def put(self, _bucket: str, _key: str, value: bytes) -> bytes:
        return value

    def read(self, _bucket: str, _key: str, kept: bytes) -> bytes:
        return kept


def _said(bucket: str, key: str, value: bytes) -> bytes:
    return f"{bucket}\0{key}\0".encode() + value
