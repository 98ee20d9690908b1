"""Text that can travel: half a surrogate pair is none, though a str of Python may hold it. Pure.

It comes from file names and arguments that are no UTF-8, and nothing that carries text takes it.
"""

from __future__ import annotations

import re
from typing import Final

from gossamer_mesh.errors import ConfigError

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def stray(text: str) -> int:
    """Return the index of the first character that cannot travel, -1 if all can."""
    found = _SURROGATE.search(text)
    return found.start() if found is not None else -1


def check_text(text: str, what: str) -> str:
    """Return `text` if it can travel, else raise `ConfigError`: `what` names it, as in "where="."""
    at = stray(text)
    if at < 0:
        return text
    shown = repr(text[max(0, at - 20) : at + 20])
    raise ConfigError(
        f"{what}{shown} holds {text[at]!r}, half of a surrogate pair, which is no character: give "
        "text, as with os.fsencode(name).decode(errors='replace')",
        value=text,
    )
