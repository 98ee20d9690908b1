"""Who is who on a mesh: keys, what they vouch for, and how that is read and checked offline."""

from __future__ import annotations
