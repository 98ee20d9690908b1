"""What somebody may have meant who wrote a name that there is not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MOST: Final = 3
"""More than so many names are no hint any more."""

ALIKE: Final = 0.6
"""How much of two names must be the same, from 0 to 1."""

_LONGEST: Final = 200
"""Of a longer name not even its beginning was mistyped."""


def nearest(name: str, known: Iterable[str], *, most: int = MOST) -> list[str]:
    """Return those of the `known` names that are most like `name`, whatever the case."""
    # Takes 6 ms to import, and only mistakes need it.
    import difflib  # noqa: PLC0415  as above

    if len(name) > _LONGEST:
        return []
    # Those that differ in case alone are one name here, and all are told.
    spelled: dict[str, list[str]] = {}
    for each in sorted(set(known)):
        spelled.setdefault(each.casefold(), []).append(each)
    close = difflib.get_close_matches(name.casefold(), spelled, most, cutoff=ALIKE)
    return [each for folded in close for each in spelled[folded] if each != name][:most]


def did_you_mean(name: str, known: Iterable[str], *, form: str = "{!r}") -> str:
    """Return the rest of a sentence, "; did you mean 'a' or 'b'?", "" if nothing is like it.

    `form` is how a name is to be written.
    """
    close = [form.format(each) for each in nearest(name, known)]
    return f"; did you mean {' or '.join(close)}?" if close else ""
