"""Coming into a mesh: join tokens, who is let in as what, for how long, and who is not any more."""

from __future__ import annotations
