"""What is brought directly, encrypted with the ticket: AES-256-GCM, a piece at a time.

For parties that reach their server encrypted: a payload must not travel more openly than the call
that it belongs to, and the ticket has come by the server. A ticket is for one connection and one
direction, so a count is a nonce that never repeats. Pieces that were altered, left out or put in
another order are refused; that the last ones are there the payload's size and digest tell.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossamer_mesh.blob.layout import Buffer

MORE_BYTES: Final = 16
"""What a sealed piece is longer than what is in it."""

_NONCE_BYTES: Final = 12


class Seal:
    """One end of a connection; each piece is closed by one and opened by the other, in turn."""

    def __init__(self, ticket: bytes) -> None:
        key = blake3(b"gossamer: what the holder brings", key=ticket).digest()
        self._cipher = AESGCM(key)
        self._count = 0

    def close(self, data: Buffer) -> bytes:
        return self._cipher.encrypt(self._nonce(), data, None)

    def open(self, data: Buffer) -> bytes:
        """Return what is in a piece; `ConnectionError` if it is not what was sealed."""
        try:
            return self._cipher.decrypt(self._nonce(), data, None)
        except InvalidTag as error:
            raise ConnectionError("what came over the connection had been altered") from error

    def _nonce(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(_NONCE_BYTES)
