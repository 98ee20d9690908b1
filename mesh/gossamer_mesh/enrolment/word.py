"""Bytes as one word that people copy: compressed, with a check sum and a prefix that says what."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

JOIN: Final = "gsm1_"
LOGIN: Final = "gsmlogin1_"
MOST_BYTES: Final = 64 * 1024
_CHECK_BYTES: Final = 4


def written(prefix: str, data: bytes) -> str:
    # What is in it is text that was made of bytes: half of it is air.
    packed = zlib.compress(data, 9)
    check = binascii.crc32(packed).to_bytes(_CHECK_BYTES)
    return prefix + base64.urlsafe_b64encode(packed + check).decode().rstrip("=")


def read(prefix: str, word: str) -> bytes:
    """Return what was written as `word`; `ValueError` if it was cut off or altered."""
    coded = word.removeprefix(prefix)
    both = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(both).decode().rstrip("=") != coded:
        # Of the last letter some bits count for nothing.
        raise ValueError("these bytes are written otherwise")
    packed, check = both[:-_CHECK_BYTES], both[-_CHECK_BYTES:]
    if binascii.crc32(packed).to_bytes(_CHECK_BYTES) != check:
        raise ValueError("its check sum is wrong")
    try:
        return zlib.decompressobj().decompress(packed, MOST_BYTES)
    except zlib.error as error:
        raise ValueError("it cannot be unpacked") from error
