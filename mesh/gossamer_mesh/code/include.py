"""Modules of the user's project that travel as files, so that functions can import them.

Packed at the call of `include`, for everything that is described from then on. The digest is over
names and contents, and the same wherever the files lie.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gossamer_mesh import origin
from gossamer_mesh.code.canonical import DIGEST_BYTES
from gossamer_mesh.errors import ConfigError, PayloadTooLargeError
from gossamer_mesh.units import show_bytes

MOST_BYTES: Final = 900 * 1024
"""One message carries it, with room for what goes around it."""

_NAMED: Final = 3
_OLDEST: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o644 << 16


class Include(msgspec.Struct, frozen=True):
    """A module or package. `digest` is over its files' names and contents, `content` a zip."""

    digest: bytes
    name: str
    content: bytes


_lock: Final = threading.Lock()
_all: Final[dict[str, Include]] = {}


def included() -> tuple[Include, ...]:
    """Return what is included now, by name."""
    return tuple(_all[name] for name in sorted(_all))


def include(name: str) -> Include:
    """Pack a top-level module or package as its files are now, and send it from now on.

    `ConfigError` if it cannot be found or is no file; `PayloadTooLargeError` names the largest
    files.
    """
    packed = pack(name)
    with _lock:
        _all[name] = packed
        origin.included.add(name)
    return packed


def exclude(name: str) -> None:
    """Send it no more."""
    with _lock:
        _all.pop(name, None)
        origin.included.discard(name)


def pack(name: str) -> Include:
    """Return the files of a module or package as they are now; see `include`."""
    import zipfile  # noqa: PLC0415 - 10 ms, which who includes nothing does not pay

    files = {path: file.read_bytes() for path, file in sorted(_files(name))}
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            for part in (path.encode(), data):
                hasher.update(len(part).to_bytes(8, "little") + part)
            info = zipfile.ZipInfo(path, _OLDEST)
            info.external_attr = _MODE
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    content = buffer.getvalue()
    if len(content) > MOST_BYTES:
        largest = sorted(files, key=lambda path: -len(files[path]))[:_NAMED]
        told = ", ".join(f"{path} ({show_bytes(len(files[path]))})" for path in largest)
        raise PayloadTooLargeError(
            f"{name} takes {show_bytes(len(content))} packed, and at most "
            f"{show_bytes(MOST_BYTES)} can be included; the largest files are {told}: move data "
            "out of the package, and pass it as an argument or a path",
            size=len(content),
            limit=MOST_BYTES,
        )
    return Include(hasher.digest(), name, content)


def _files(name: str) -> Iterator[tuple[str, Path]]:
    """Yield (path inside the archive, file)."""
    if not name.isidentifier():
        way_out = f": include {name.partition('.')[0]!r}" if "." in name else ""
        raise ConfigError(f"include({name!r}): give the name of a top-level module{way_out}")
    if name in origin.MAIN:
        raise ConfigError(f"include({name!r}): what the program defines itself travels anyway")
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ConfigError(
            f"include({name!r}): there is no module of that name; is its folder on sys.path?"
        )
    found = False
    for folder in spec.submodule_search_locations or ():
        for file in Path(folder).rglob("*"):
            inside = file.relative_to(folder)
            if file.is_file() and not any(map(_is_left_out, inside.parts)):
                found = True
                yield f"{name}/{inside.as_posix()}", file
    if not found:
        if not spec.has_location or spec.origin is None:
            raise ConfigError(f"include({name!r}): it is no file: agents have it with Python")
        yield Path(spec.origin).name, Path(spec.origin)


def _is_left_out(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__" or part.endswith((".pyc", ".pyo"))
