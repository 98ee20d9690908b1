"""Unpacks what a caller includes, once for all its workers. Python 3.8 and up."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile


def unpack(place: str, name: str, content: bytes) -> str:
    """Return the directory in `place` that has the files of the zip; other workers may race."""
    target = os.path.join(place, name)
    if os.path.isdir(target):
        return target
    os.makedirs(place, mode=0o700, exist_ok=True)
    aside = tempfile.mkdtemp(dir=place)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(aside)
    try:
        os.rename(aside, target)
    except OSError:
        # Another one was first.
        shutil.rmtree(aside, ignore_errors=True)
    return target
