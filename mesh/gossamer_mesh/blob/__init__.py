"""Payloads too large for a message: files by the digest of their content, had when needed.

`Store` keeps them, `Depot` has them from others and lets others have them; `Serving` and
`Fetching` decide what is sent and asked for. On one machine a blob is had by a hard link.
"""

from __future__ import annotations

from gossamer_mesh.blob.depot import Depot
from gossamer_mesh.blob.held import Held
from gossamer_mesh.blob.room import SHARED_MEMORY
from gossamer_mesh.blob.store import Store

__all__ = ["SHARED_MEMORY", "Depot", "Held", "Store"]
