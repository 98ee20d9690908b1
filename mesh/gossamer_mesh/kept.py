"""The code of a registered function as it is kept: packed, and read back without being loaded."""

from __future__ import annotations

from typing import Final

import msgspec

from gossamer_mesh import registered
from gossamer_mesh.code.function import FunctionCode
from gossamer_mesh.errors import ProtocolError
from gossamer_mesh.registered import Registered

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(FunctionCode)


def pack(code: FunctionCode) -> bytes:
    return _encoder.encode(code)


def unpack(entry: Registered, kept: bytes) -> FunctionCode:
    """Return the code in `kept` if it is that of the entry, else raise `ProtocolError`."""
    if registered.kept_digest(kept) != entry.content:
        raise ProtocolError(f"the code kept for {entry} is not what was registered")
    try:
        code = _decoder.decode(kept)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"the code kept for {entry} cannot be read ({error})") from error
    if code.digest != entry.digest:
        raise ProtocolError(f"the code kept for {entry} is that of another function")
    return code
